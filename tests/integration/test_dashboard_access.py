"""The server's roles, policies and limits as text: understood, complete, and about what exists.

The embedded engine has no users: that a server denies what it must has not been seen.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from clickhouse.client import Client
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tillstream.devstack.warehouse.guests import QUERIES

pytestmark = pytest.mark.integration

FILE = Path(__file__).resolve().parents[2] / "deploy/clickhouse/dashboards.sql"
OPEN_TO_ALL = {"dim_store", "store_access"}


@pytest.fixture(scope="module")
def client(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "access") as client:
        yield client


@pytest.fixture(scope="module")
def statements() -> list[str]:
    text = re.sub(r"^--.*", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [" ".join(one.split()) for one in text.split(";") if one.strip()]


def granted(statements: list[str]) -> dict[str, str]:
    """Table -> the columns that are granted, empty for all."""
    found = [re.match(r"GRANT SELECT(?:\((.*)\))? ON tillstream\.(\w+) TO", s) for s in statements]
    return {match[2]: match[1] or "" for match in found if match}


def test_the_engine_understands_every_statement(client: Client, statements: list[str]) -> None:
    assert len(statements) > 50
    for statement in statements:
        assert client.command(f"EXPLAIN AST {statement}"), statement


def test_every_view_has_all_it_stands_on(client: Client, statements: list[str]) -> None:
    rows = client.query(
        "SELECT name, as_select FROM system.tables WHERE database = currentDatabase()"
    ).result_rows
    selects = {str(name): str(text) for name, text in rows}
    grants = granted(statements)
    for view in grants:
        used = re.findall(r"(?:FROM|JOIN) (?:`?\w+`?\.)`?(\w+)`?", selects[view])
        assert used or not selects[view]
        assert set(used) <= set(grants), view


def test_every_table_with_a_stores_rows_has_a_policy(client: Client, statements: list[str]) -> None:
    with_store = client.query(
        "SELECT DISTINCT c.table FROM system.columns AS c INNER JOIN system.tables AS t"
        " ON t.database = c.database AND t.name = c.table"
        " WHERE c.database = currentDatabase() AND c.name = 'store_id'"
        " AND t.engine LIKE '%MergeTree'"
    ).result_columns[0]
    policies = set(re.findall(r"own_stores ON tillstream\.(\w+)", "\n".join(statements)))
    tables = set(with_store) & set(granted(statements))
    assert policies == tables - OPEN_TO_ALL


def test_neither_customers_nor_original_bytes_are_granted(
    client: Client, statements: list[str]
) -> None:
    grants = granted(statements)
    assert not {"quarantine", "duplicates", "customer_events", "event_index"} & set(grants)
    columns = client.query(
        "SELECT name FROM system.columns"
        " WHERE database = currentDatabase() AND table = 'fact_sales'"
    ).result_columns[0]
    listed = set(grants["fact_sales"].split(", "))
    assert listed < set(columns) and "customer_id" not in listed
    for table, names in grants.items():
        if not names:
            assert "customer_id" not in client.query(f"DESCRIBE TABLE {table}").result_columns[0]


def test_a_server_grants_the_views_that_guests_have(statements: list[str]) -> None:
    assert set(QUERIES) <= set(granted(statements))


def test_limits_cannot_be_raised_by_a_client(statements: list[str]) -> None:
    (profile,) = (one for one in statements if one.startswith("CREATE SETTINGS PROFILE"))
    limits = re.findall(r"(max_\w+) = \d+( CONST)?", profile)
    assert len(limits) == 5 and all(const for _, const in limits)
