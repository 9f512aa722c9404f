"""Guests of the local warehouse: their own stores' figures by name, and nothing by SQL."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from clickhouse.client import Client, connect
from clickhouse.dictionary import dictionary
from tests.fixtures.warehouse import WarehouseProcess
from tillstream.devstack.warehouse import guests
from tillstream.devstack.warehouse.guests import LIMITS, QUERIES, Guest
from tillstream.settings import WarehouseSettings

pytestmark = pytest.mark.integration

PASSWORD = "of maria and of carl"
DAYS = {"param_from": "2026-03-01", "param_to": "2026-03-09", "param_since": "2026-03-09 12:00:00"}


@pytest.fixture(scope="module", autouse=True)
def invited(warehouse_server: WarehouseProcess, small_chain: WarehouseSettings) -> Iterator[None]:
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    every = {
        "maria": Guest("maria", digest, stores=("S0001", "S'); DROP TABLE fact_sales --")),
        "carl": Guest("carl", digest, regions=("North East",)),
    }
    path = warehouse_server.home / "guests.json"
    path.write_text(guests.as_text(small_chain.database, every), encoding="utf-8")
    yield
    path.unlink()


@pytest.fixture(scope="module")
def owner(small_chain: WarehouseSettings) -> Iterator[Client]:
    with closing(connect(small_chain)) as client:
        yield client


def ask(
    server: WarehouseProcess,
    query: str,
    *,
    user: str = "maria",
    password: str = PASSWORD,
    body: str = "",
    headers: Any = None,
    **params: Any,
) -> httpx.Response:
    return httpx.post(
        f"{server.url}/",
        params={"query": query, "default_format": "JSON", **params},
        content=body,
        headers=headers,
        auth=(user, password),
        timeout=60,
    )


def rows(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def code(answer: httpx.Response) -> int:
    return int(answer.headers["X-ClickHouse-Exception-Code"])


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_guest_sees_own_stores_only(warehouse_server: WarehouseProcess, name: str) -> None:
    for user, stores in (("maria", {"S0001"}), ("carl", None)):
        found = rows(ask(warehouse_server, name, user=user, **DAYS))
        if found and "store_id" in found[0]:
            seen = {row["store_id"] for row in found}
            assert seen == stores if stores else "S0001" in seen and len(seen) == 4
        assert found or name == "bi_anomalies"


def test_what_a_guest_sees_is_what_the_facts_say(
    warehouse_server: WarehouseProcess, owner: Client
) -> None:
    found = rows(ask(warehouse_server, "bi_sales_by_store", **DAYS))
    exact = owner.query(
        "SELECT toString(sum(revenue)) FROM fact_sales WHERE store_id = 'S0001'"
        " AND date_key BETWEEN '2026-03-01' AND '2026-03-09'"
    ).result_rows[0][0]
    assert sum(round(float(row["revenue"]) * 10_000) for row in found) == round(float(exact) * 1e4)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "SELECT * FROM bi_stores",
        "bi_stores FORMAT JSON",
        "bi_access",
        "bi_stores; SELECT 1",
        "SELECT * FROM merge(currentDatabase(), 'fact_sales')",
        "SELECT * FROM file('/etc/passwd', LineAsString)",
        "INSERT INTO store_access (user_name) VALUES ('maria')",
        "DROP TABLE fact_sales",
        "SET readonly = 0",
        "",
    ],
)
def test_sql_is_refused_with_the_engines_own_code(
    warehouse_server: WarehouseProcess, query: str
) -> None:
    for answer in (ask(warehouse_server, query), ask(warehouse_server, "", body=query)):
        assert (answer.status_code, code(answer)) == (403, 497)
        assert "Not enough privileges" in answer.text


def test_nothing_a_guest_adds_widens_what_they_see(warehouse_server: WarehouseProcess) -> None:
    plain = rows(ask(warehouse_server, "bi_stores"))
    more = {
        "param_stores": "['S0002']",
        "param_regions": "['Mountain']",
        "database": "system",
        "max_execution_time": "0",
        "readonly": "0",
        "additional_table_filters": "{}",
        "session_id": "mine",
        "role": "owner",
    }
    assert rows(ask(warehouse_server, "bi_stores", **more)) == plain
    assert rows(ask(warehouse_server, "bi_stores", body=" UNION ALL SELECT 1")) == plain
    refused = ask(warehouse_server, "bi_stores", headers={"X-ClickHouse-Database": "system"})
    assert code(refused) == 497


def test_a_parameter_with_sql_in_it_is_a_wrong_date(warehouse_server: WarehouseProcess) -> None:
    days = DAYS | {"param_to": "2026-03-09') OR 1=1 --"}
    assert ask(warehouse_server, "bi_sales", **days).status_code >= 400
    assert code(ask(warehouse_server, "bi_sales", param_from="2026-03-01")) == 456


def test_limits_end_a_guests_query(
    warehouse_server: WarehouseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's process has its own limits, so the same request is made with tighter ones."""
    request = Guest("maria", "", stores=("S0001",)).request({}, {"query": "bi_dates"}, "default")
    assert request["readonly"] == "1"
    assert {name: request[name] for name in LIMITS} == LIMITS
    long = ask(warehouse_server, "bi_dates", max_result_rows="1000000")
    assert len(rows(long)) == 18263
    tight = {
        "max_result_rows": ("10", 396),
        "max_execution_time": ("0.001", 159),
        "max_memory_usage": ("1000", 241),
    }
    for name, (limit, expected) in tight.items():
        answer = ask(
            warehouse_server,
            "SELECT number, sleepEachRow(0.0001) FROM numbers(100000)"
            if name == "max_execution_time"
            else "SELECT number FROM numbers(100000)",
            user=warehouse_server.user,
            password=warehouse_server.password,
            **{**LIMITS, name: limit},
        )
        assert code(answer) == expected, name


def test_a_wrong_password_lets_nobody_in(warehouse_server: WarehouseProcess) -> None:
    assert code(ask(warehouse_server, "bi_stores", password="guess")) == 516
    assert code(ask(warehouse_server, "bi_stores", user="nobody")) == 516


def test_who_asked_what_is_written_down(warehouse_server: WarehouseProcess) -> None:
    ask(warehouse_server, "bi_alerts")
    ask(warehouse_server, "SELECT 'mine'", user="carl")
    lines = (warehouse_server.home / "guests.jsonl").read_text(encoding="utf-8").splitlines()
    told = [(one["user"], one["query"], one["code"]) for one in map(json.loads, lines[-2:])]
    assert told == [("maria", "bi_alerts", 0), ("carl", "SELECT 'mine'", 497)]


def test_every_query_by_name_is_of_a_served_view(owner: Client) -> None:
    served = {one.name for one in dictionary(owner, prefix="bi_")}
    assert set(QUERIES) <= served
    assert served - set(QUERIES) == {
        *("bi_access", "bi_commits", "bi_rejects", "bi_models", "bi_risk_history"),
        "bi_risk_outcomes",
    }
