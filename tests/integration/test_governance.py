"""A customer is exported and erased: from facts, from stored bytes, from the lake, with proof."""

import json
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from clickhouse.client import Client, connect
from clickhouse.queries import select
from lake.archive import archive
from lake.client import connect as connect_lake
from orchestration.forgetting import count_in_lake, hash_of
from orchestration.governance import (
    apply_erasures,
    customer_name,
    erase_customer,
    export_customer,
)
from tests.fixtures.warehouse import WarehouseProcess, own_database
from tests.unit.test_compaction import records
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.settings import Settings, load_settings

pytestmark = pytest.mark.integration

NAME, OTHER = "cust-" + "a1" * 16, "cust-" + "b2" * 16


@pytest.fixture
def settings(warehouse_server: WarehouseProcess, tmp_path: Path) -> Iterator[Settings]:
    with own_database(warehouse_server, "governance") as warehouse:
        yield load_settings(home=tmp_path, warehouse=warehouse, customer_key="key")


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with closing(connect(settings.warehouse)) as client:
        yield client


def sale(customer: str) -> bytes:
    return Codec(load_catalogue()).encode(
        Topic.SALES,
        {
            **{"transaction_id": "t", "store_id": "S1", "product_id": "P1", "quantity": 1},
            **{"unit_price": Decimal("2.00"), "timestamp": 1_773_100_800_000},
            **{"customer_id": customer, "payment_method": "card"},
        },
    )


def fill(settings: Settings, client: Client) -> None:
    client.command(
        "INSERT INTO fact_sales (sale_id, date_key, quantity, revenue, customer_id, topic_id,"
        " partition, offset) SELECT toString(number), '2026-03-10', 1, 2,"
        f" [NULL, '{NAME}', '{OTHER}'][number % 3 + 1], 't1', 0, number FROM numbers(9)"
    )
    client.command(
        "INSERT INTO customer_events (event_id, date_key, customer_id, topic_id, partition, offset)"
        f" VALUES ('e', '2026-03-10', '{NAME}', 't2', 0, 0)"
    )
    client.command(
        "INSERT INTO duplicates (topic, topic_id, partition, offset, value) VALUES"
        f" ('retail-sales-transactions', 't1', 0, 9, unhex('{sale(NAME).hex()}'))"
    )
    client.command(
        "INSERT INTO quarantine (topic, topic_id, partition, offset, reason, value) VALUES"
        f" ('retail-sales-transactions', 't1', 0, 10, 'undecodable', 'junk {NAME} and {OTHER}')"
    )
    archived = records(0, 8)
    customers = [None, NAME, OTHER] * 3
    values = [sale(one) if one else b"\x00" for one in customers]
    at = archived.schema.get_field_index("value")
    archived = archived.set_column(at, archived.schema.field("value"), pa.array(values))
    archived = archived.append_column("customer_id", pa.array(customers))
    archive(connect_lake(settings.lake, url=settings.lake_url), archived)


def test_a_customer_is_erased_everywhere_and_rows_stay(settings: Settings, client: Client) -> None:
    fill(settings, client)
    held = export_customer(client, NAME)
    assert {table: len(rows) for table, rows in held.items()} == {
        "fact_sales": 3,
        "customer_events": 1,
    }
    json.dumps(held, default=str)
    done = erase_customer(settings, NAME, requested_by="L. Ortiz", reason="request 4711")
    assert (done.warehouse_rows, done.lake_records, done.remaining) == (6, 3, 0)
    assert export_customer(client, NAME) == {"fact_sales": [], "customer_events": []}
    assert len(export_customer(client, OTHER)["fact_sales"]) == 3
    kept = select(client, "SELECT count() AS n, sum(revenue) AS r FROM fact_sales").to_pylist()[0]
    assert kept == {"n": 9, "r": 18}
    stored = select(
        client,
        "SELECT v FROM (SELECT hex(value) AS v FROM quarantine UNION ALL"
        " SELECT hex(value) AS v FROM duplicates) ORDER BY length(v) DESC",
    )["v"].to_pylist()
    decoded = Codec(load_catalogue()).decode(Topic.SALES, bytes.fromhex(stored[1])).record
    assert (decoded["customer_id"], decoded["unit_price"]) == (None, Decimal("2.00"))
    assert bytes.fromhex(stored[0]) == b"junk " + b"x" * 37 + b" and " + OTHER.encode()
    lake = connect_lake(settings.lake, url=settings.lake_url)
    assert count_in_lake(lake, {hash_of(NAME)}) == 0
    assert count_in_lake(lake, {hash_of(OTHER)}) == 3


def test_who_comes_back_is_erased_again_the_next_night(settings: Settings, client: Client) -> None:
    fill(settings, client)
    erase_customer(settings, NAME, requested_by="L. Ortiz", reason="request 4711")
    client.command(
        "INSERT INTO fact_sales (sale_id, date_key, customer_id, topic_id, partition, offset)"
        f" VALUES ('late', '2026-03-10', '{NAME}', 't1', 0, 99)"
    )
    (again,) = apply_erasures(settings)
    assert (again.warehouse_rows, again.lake_records, again.remaining) == (7, 3, 0)
    assert (again.requested_by, again.reason) == ("L. Ortiz", "request 4711")
    assert apply_erasures(settings) == [again]
    rows = select(client, "SELECT * FROM erasures FINAL")
    assert NAME not in str(rows.to_pylist())


def test_a_customer_is_found_by_their_own_number(settings: Settings) -> None:
    name = customer_name(settings, "1364")
    assert name.startswith("cust-")
    assert customer_name(settings, name) == name
