"""Migrations as text: their order, their statements, and what a cluster makes of them."""

import re

import pytest

from clickhouse.migrate import Migration, clustered, load_migrations


def statements() -> list[str]:
    return [text for migration in load_migrations() for text in migration.statements()]


def test_migrations_are_numbered_without_a_gap() -> None:
    migrations = load_migrations()
    assert [m.number for m in migrations] == list(range(1, len(migrations) + 1))
    assert migrations[0].name == "facts"


def test_file_splits_into_statements_without_comments() -> None:
    sql = "-- why; because\nCREATE TABLE a\n(\n    -- a column;\n    x Int32\n)\n;\n\nSELECT 1;\n"
    texts = list(Migration(1, "x", sql).statements())
    assert texts == ["CREATE TABLE a\n(\n    x Int32\n)", "SELECT 1"]


@pytest.mark.parametrize("ending", ["", ";", ";\n", ";\n\n"])
def test_last_statement_may_end_in_any_way(ending: str) -> None:
    assert list(Migration(1, "x", f"SELECT 1;\nSELECT 2{ending}").statements()) == [
        "SELECT 1",
        "SELECT 2",
    ]


def test_nothing_is_created_twice_or_dropped_before_it_exists() -> None:
    names: set[str] = set()
    for text in statements():
        match = re.match(
            r"(CREATE|INSERT|DROP|TRUNCATE|ALTER) (?:TABLE|VIEW|MATERIALIZED VIEW|INTO) (\w+)", text
        )
        assert match, text[:60]
        verb, name = match.groups()
        assert (name in names) is (verb != "CREATE"), text[:60]
        if verb == "CREATE":
            names.add(name)
        elif verb == "DROP":
            names.remove(name)


def test_checksum_is_of_the_text() -> None:
    assert Migration(1, "a", "x").sha256 == Migration(2, "b", "x").sha256
    assert Migration(1, "a", "x").sha256 != Migration(1, "a", "x ").sha256


def test_cluster_drops_the_local_table_too() -> None:
    assert clustered("DROP TABLE t", "shops") == [
        "DROP TABLE t ON CLUSTER 'shops'",
        "DROP TABLE t_local ON CLUSTER 'shops' SYNC",
    ]
    assert clustered("DROP VIEW v", "shops") == ["DROP VIEW v ON CLUSTER 'shops'"]
    assert clustered("TRUNCATE TABLE t", "shops") == ["TRUNCATE TABLE t_local ON CLUSTER 'shops'"]


def test_cluster_changes_the_local_table_first() -> None:
    text = "ALTER TABLE t ADD COLUMN IF NOT EXISTS\n    a Int32"
    assert clustered(text, "shops") == [
        "ALTER TABLE t_local ON CLUSTER 'shops' ADD COLUMN IF NOT EXISTS\n    a Int32",
        "ALTER TABLE t ON CLUSTER 'shops' ADD COLUMN IF NOT EXISTS\n    a Int32",
    ]


def test_cluster_table_is_a_replicated_local_one_behind_a_distributed_one() -> None:
    statement = "CREATE TABLE t\n(\n    store_id String\n)\nENGINE = MergeTree\nORDER BY store_id"
    local, spanning = clustered(statement, "chain")
    path = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
    assert local == (
        "CREATE TABLE t_local ON CLUSTER 'chain'\n(\n    store_id String\n)\n"
        f"ENGINE = ReplicatedMergeTree({path})\nORDER BY store_id"
    )
    assert spanning == (
        "CREATE TABLE t ON CLUSTER 'chain' AS t_local ENGINE = Distributed('chain', "
        "currentDatabase(), t_local, cityHash64(store_id))"
    )


def test_engine_keeps_its_own_arguments_on_a_cluster() -> None:
    text = "CREATE TABLE t (v Int32) ENGINE = ReplacingMergeTree(v) ORDER BY v"
    assert "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}" in clustered(text, "c")[0]
    assert "'{replica}', v)" in clustered(text, "c")[0]


def test_cluster_alters_what_holds_the_rows() -> None:
    assert clustered("ALTER TABLE t ADD PROJECTION p (SELECT a)", "c") == [
        "ALTER TABLE t_local ON CLUSTER 'c' ADD PROJECTION p (SELECT a)"
    ]


def test_views_are_created_everywhere_as_they_are() -> None:
    view = "CREATE VIEW v AS SELECT 1"
    assert clustered(view, "c") == ["CREATE VIEW v ON CLUSTER 'c' AS SELECT 1"]
    assert clustered("INSERT INTO t SELECT 1", "c") == ["INSERT INTO t SELECT 1"]


def test_feed_leads_from_local_table_to_local_table() -> None:
    """On a spanning table it would run where an insert arrives, and not be part of it."""
    feed = "CREATE MATERIALIZED VIEW f TO t AS\nSELECT a FROM s\nGROUP BY a"
    assert clustered(feed, "c") == [
        "CREATE MATERIALIZED VIEW f ON CLUSTER 'c' TO t_local AS\nSELECT a FROM s_local\nGROUP BY a"
    ]


def test_every_feed_stays_on_its_shard() -> None:
    """Both its ends are spread by store, so that what it writes is where readers look for it."""
    tables = {t.split()[2]: t for t in statements() if t.startswith("CREATE TABLE")}
    feeds = [text for text in statements() if text.startswith("CREATE MATERIALIZED VIEW")]
    assert len(feeds) == 7
    for feed in feeds:
        ends = re.findall(r"\b(?:TO|FROM) (\w+)", feed)
        assert len(ends) == 2
        for table in ends:
            assert "cityHash64(store_id)" in clustered(tables[table], "c")[1], table


@pytest.mark.parametrize(
    ("order", "key"),
    [("(a, b)", "cityHash64(a, b)"), ("a", "cityHash64(a)"), ("(a)", "cityHash64(a)")],
)
def test_rows_that_replace_each_other_meet_on_one_shard(order: str, key: str) -> None:
    """Engines merge within a shard only: two versions of a row must not land on two."""
    text = f"CREATE TABLE t (a Int32, b Int32) ENGINE = ReplacingMergeTree ORDER BY {order}"
    assert clustered(text, "c")[1].endswith(f"t_local, {key})")


def test_every_table_of_the_warehouse_is_spread_by_its_own_rows() -> None:
    for text in statements():
        if text.startswith("CREATE TABLE"):
            spanning = clustered(text, "c")[1]
            key = re.search(r"cityHash64\(([\w, ]+)\)\)$", spanning)
            assert key, spanning
            for column in key[1].split(", "):
                assert re.search(rf"^    {column} ", text, re.MULTILINE), (column, text[:60])
