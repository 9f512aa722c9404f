"""`verify` finds damage, and says where."""

from collections.abc import Iterator
from datetime import date

import pytest
from typer.testing import CliRunner

from clickhouse.client import Client
from clickhouse.stored import NEWEST_REPORT
from lake.client import connect as connect_lake
from tests.fixtures.platform import Platform
from tillstream.audit.findings import Check
from tillstream.cli.main import app

pytestmark = [pytest.mark.e2e, pytest.mark.integration]


@pytest.fixture(scope="module")
def day(platform: Platform) -> Platform:
    platform.replay(date(2017, 11, 24), 1, stores="5")
    platform.catch_up()
    assert platform.audit().clean
    return platform


@pytest.fixture
def client(day: Platform) -> Iterator[Client]:
    with day.client() as client:
        yield client


def _failing(platform: Platform) -> dict[str, Check]:
    return {check.name: check for check in platform.audit().checks if not check.clean}


def _keep(client: Client, table: str) -> None:
    client.command(f"CREATE TABLE kept AS {table}")
    client.command(f"INSERT INTO kept SELECT * FROM {table}")


def _restore(client: Client, table: str) -> None:
    client.command(f"TRUNCATE TABLE {table}")
    client.command(f"INSERT INTO {table} SELECT * FROM kept")
    client.command("DROP TABLE kept SYNC")


def test_a_deleted_row_is_missing_at_its_offset(day: Platform, client: Client) -> None:
    topic_id, partition, offset = client.query(
        "SELECT topic_id, partition, offset FROM fact_inventory ORDER BY offset LIMIT 1 OFFSET 7"
    ).result_rows[0]
    _keep(client, "fact_inventory")
    try:
        client.command(
            f"ALTER TABLE fact_inventory DELETE WHERE topic_id = '{topic_id}'"
            f" AND partition = {partition} AND offset = {offset} SETTINGS mutations_sync = 2"
        )
        found = _failing(day)["offsets"]
    finally:
        _restore(client, "fact_inventory")
    assert found.disagreeing == 1
    assert found.findings[0].kind == "missing"
    where = found.findings[0].where
    assert (where["topic_id"], where["partition"], where["first"]) == (topic_id, partition, offset)


def test_a_doubled_row_is_found_by_offset_identity_and_window(
    day: Platform, client: Client
) -> None:
    sale_id, partition, offset = client.query(
        "SELECT sale_id, partition, offset FROM fact_sales WHERE quantity > 0"
        " AND event_time < '2018-01-01' LIMIT 1"
    ).result_rows[0]
    _keep(client, "fact_sales")
    try:
        client.command(
            f"INSERT INTO fact_sales SELECT * FROM fact_sales WHERE sale_id = '{sale_id}'"
        )
        found = _failing(day)
    finally:
        _restore(client, "fact_sales")
    assert set(found) == {"offsets", "identities", "windows"}
    where = found["offsets"].findings[0].where
    assert (where["partition"], where["offset"]) == (partition, offset)


def test_an_altered_window_is_named(day: Platform, client: Client) -> None:
    store, product, window = client.query(
        "SELECT store_id, product_id, toString(window_start) FROM velocity_5m LIMIT 1"
    ).result_rows[0]
    _keep(client, "velocity_5m_sums")
    try:
        client.command(
            "INSERT INTO velocity_5m_sums (store_id, product_id, window_start, units, revenue,"
            f" lines) VALUES ('{store}', '{product}', '{window}', 1, 0, 0)"
        )
        found = _failing(day)
    finally:
        _restore(client, "velocity_5m_sums")
    assert set(found) == {"windows"}
    where = found["windows"].findings[0].where
    assert (where["store_id"], where["product_id"], where["window_start"]) == (
        store,
        product,
        window,
    )
    assert where["units"] == -1


def test_a_removed_object_and_a_truncated_one_are_named(day: Platform) -> None:
    lake = connect_lake(day.settings.lake, url=day.settings.lake_url)
    objects = sorted(info.name for info in lake.list("raw-data/inventory"))
    removed, replaced = objects[0], objects[-1]
    kept = {name: lake.read(name) for name in (removed, replaced)}
    try:
        lake.delete(removed)
        lake.write(replaced, kept[replaced].slice(0, kept[replaced].num_rows - 1))
        found = _failing(day)["lake"]
    finally:
        for name, table in kept.items():
            lake.write(name, table)
    kinds = {finding.kind: finding for finding in found.findings}
    gone = kinds["not archived"].where
    assert f"{gone['first']:020d}-{gone['last']:020d}" in removed
    assert kinds["damaged object"].where["object"] == replaced


def test_wrong_stock_is_named(day: Platform, client: Client) -> None:
    store, product = client.query(
        "SELECT store_id, product_id FROM current_stock LIMIT 1"
    ).result_rows[0]
    _keep(client, "current_stock_states")
    try:
        client.command(
            "INSERT INTO current_stock_states SELECT cityHash64(store_id, product_id), store_id,"
            f" product_id, {NEWEST_REPORT} FROM (SELECT store_id, product_id,"
            " toInt64(9e17) AS sequence, now64(3, 'UTC') AS event_time, toInt64(0) AS offset,"
            f" toInt32(4711) AS quantity_on_hand FROM current_stock WHERE store_id = '{store}'"
            f" AND product_id = '{product}') GROUP BY store_id, product_id"
        )
        found = _failing(day)
    finally:
        _restore(client, "current_stock_states")
    assert set(found) == {"stock"}
    where = found["stock"].findings[0].where
    assert (where["store_id"], where["product_id"], where["shown"]) == (store, product, 4711)


def test_a_ledger_entry_that_was_never_stored_is_named(
    day: Platform, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from simulators.ledger import Ledger

    path = tmp_path_factory.mktemp("ledger") / "extra.jsonl"
    with Ledger.create(path) as ledger:
        ledger.attempted("retail-sales-transactions", "never-stored")
        ledger.acknowledged("retail-sales-transactions", "never-stored", 0, 1)
    audit = day.audit(ledgers=[path])
    check = next(check for check in audit.checks if check.name == "ledger")
    assert "never-stored" in {
        finding.where["identity"]
        for finding in check.findings
        if finding.kind == "acknowledged, not stored"
    }


def test_the_command_exits_5_on_damage_and_0_when_clean(day: Platform, client: Client) -> None:
    runner = CliRunner()
    arguments = ["--home", str(day.home), "verify", "--json"]
    assert runner.invoke(app, arguments).exit_code == 0
    _keep(client, "velocity_5m_sums")
    try:
        client.command("TRUNCATE TABLE velocity_5m_sums")
        assert runner.invoke(app, arguments).exit_code == 5
    finally:
        _restore(client, "velocity_5m_sums")
    assert runner.invoke(app, arguments).exit_code == 0
