"""Reading a SQL text just far enough to serve it."""

import pytest

from tillstream.devstack.warehouse.errors import QueryError
from tillstream.devstack.warehouse.statement import read_statement, split_types


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (b"SELECT 1", None),
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"select 1 format CSV;", "CSV"),
        (b"SELECT 1 FORMAT TSV SETTINGS max_threads = 1", "TSV"),
        (b"SELECT 'FORMAT JSON'", None),
        (b"SELECT 1 -- FORMAT JSON", None),
        (b"SELECT 1 /* FORMAT JSON */", None),
        (b"SELECT format FROM t", None),
        (b"SELECT * FROM (SELECT 1 FORMAT JSON)", None),
        (b"SELECT 'it''s', 'a\\'b', `x``y` FORMAT Native", "Native"),
        (b"-- first\n(SELECT 1) UNION ALL (SELECT 2)\n FORMAT Native", "Native"),
    ],
)
def test_output_format_is_the_top_level_format_clause(sql: bytes, expected: str | None) -> None:
    statement = read_statement(sql)
    assert statement.output_format == expected
    assert statement.returns_rows


@pytest.mark.parametrize(
    ("sql", "data_format", "head", "data"),
    [
        (b"INSERT INTO t FORMAT TSV\n1\t2\n", "TSV", b"INSERT INTO t ", b"1\t2\n"),
        (b"INSERT INTO t FORMAT CSV\r\n\n1", "CSV", b"INSERT INTO t ", b"\n1"),
        (b"insert into t (a, b) values (1, 'x')", "Values", b"insert into t (a, b) ", b" (1, 'x')"),
        (b"INSERT INTO t(values) VALUES(1)", "Values", b"INSERT INTO t(values) ", b"(1)"),
        (
            b"INSERT INTO t SETTINGS insert_deduplication_token = 'FORMAT x' FORMAT Native\n\x00",
            "Native",
            b"INSERT INTO t SETTINGS insert_deduplication_token = 'FORMAT x' ",
            b"\x00",
        ),
        (
            b"/* load */ INSERT INTO FUNCTION file('x') FORMAT JSONEachRow {\"a\": 1}",
            "JSONEachRow",
            b"/* load */ INSERT INTO FUNCTION file('x') ",
            b'{"a": 1}',
        ),
    ],
)
def test_insert_data_starts_after_its_format(
    sql: bytes, data_format: str, head: bytes, data: bytes
) -> None:
    statement = read_statement(sql)
    assert statement.insert_format == data_format
    assert sql[: statement.insert_end] == head
    assert sql[statement.data_start :] == data
    assert not statement.returns_rows


@pytest.mark.parametrize(
    "sql",
    [b"INSERT INTO t SELECT 1 FORMAT TSV", b"INSERT INTO t WITH 1 AS x SELECT x",
     b"INSERT INTO t (a) (SELECT 1)"],
)  # fmt: skip
def test_insert_select_has_no_data(sql: bytes) -> None:
    assert read_statement(sql).data_start is None


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (b"", 62),
        (b" -- nothing\n", 62),
        (b"SELECT 1; SELECT 2", 62),
        (b"SELECT 1 INTO OUTFILE 'x.tsv'", 358),
        (b"INSERT INTO t FROM INFILE 'x.tsv' FORMAT TSV", 78),
        (b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT TSV\n1", 48),
    ],
)
def test_what_the_interface_refuses(sql: bytes, code: int) -> None:
    with pytest.raises(QueryError) as refused:
        read_statement(sql)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("sql", "changes"),
    [
        (b"SET max_threads = 1", True),
        (b"USE db", True),
        (b"CREATE TEMPORARY TABLE t (a Int8)", True),
        (b"CREATE OR REPLACE TEMPORARY TABLE t (a Int8)", True),
        (b"CREATE TABLE t (temporary Int8) ENGINE = Memory", False),
        (b"SELECT 1", False),
    ],
)
def test_statements_that_a_session_must_remember(sql: bytes, changes: bool) -> None:
    assert read_statement(sql).changes_session is changes


def test_ddl_returns_no_rows_and_names_no_format() -> None:
    for sql in (b"CREATE TABLE t (a Int8) ENGINE = Memory", b"ALTER TABLE t DELETE WHERE 1"):
        assert not read_statement(sql).returns_rows
    for sql in (b"SHOW TABLES", b"DESCRIBE t", b"EXISTS TABLE t", b"CHECK TABLE t"):
        assert read_statement(sql).returns_rows


def test_types_split_at_the_top_level_only() -> None:
    types = "UInt64,Array(Tuple(a String, b Int8)), Decimal(18, 4)"
    assert split_types(types) == ["UInt64", "Array(Tuple(a String, b Int8))", "Decimal(18, 4)"]
