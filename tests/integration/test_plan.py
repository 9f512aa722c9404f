"""Plans from a real warehouse: what is read, what is null, and the commands end to end."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from clickhouse.client import Client, connect
from tests.fixtures.warehouse import WarehouseProcess, own_database
from tillstream.cli import plan as command
from tillstream.errors import ConfigError
from tillstream.planning.items import ITEMS, completed
from tillstream.planning.reading import newest_score, places, read_items
from tillstream.settings import WarehouseSettings, load_settings

pytestmark = pytest.mark.integration

AS_OF = datetime(2026, 3, 10, 12, tzinfo=UTC)
SCORES = [  # store, product, on hand, lead time
    ("S1", "P1", 2, 2.0),
    ("S1", "P2", 40, 1.0),
    ("S2", "P1", 90, 2.0),
    ("S2", "P2", 90, 1.0),
    ("S3", "P3", -1, 3.0),
]


@pytest.fixture(scope="module")
def empty(warehouse_server: WarehouseProcess) -> Iterator[WarehouseSettings]:
    with own_database(warehouse_server, "plan") as own:
        yield own


@pytest.fixture(scope="module")
def warehouse(warehouse_server: WarehouseProcess) -> Iterator[WarehouseSettings]:
    with own_database(warehouse_server, "plan") as own, closing(connect(own)) as client:
        _fill(client)
        yield own


@pytest.fixture
def client(warehouse: WarehouseSettings) -> Iterator[Client]:
    with closing(connect(warehouse)) as client:
        yield client


def _fill(client: Client) -> None:
    scores = ["as_of", "computed_at", "store_id", "product_id", "on_hand", "lead_time_days"]
    believed = ["belief_a", "belief_b", "dispersion"]
    early = AS_OF.replace(hour=6)
    rows = [[AS_OF, AS_OF, *score, 30.0, 10.0, 1.5] for score in SCORES]
    # An older score of the first item, which the newer one replaces.
    rows.insert(0, [early, early, "S1", "P1", 77, 2.0, 30.0, 10.0, 1.5])
    client.insert("stockout_risk_history", rows, column_names=[*scores, *believed])
    product = ["product_id", "product_name", "category", "margin", "unit_cost", "shelf_life_days"]
    client.insert(
        "dim_product",
        [
            ["P1", "Milk", "Dairy", 0.25, Decimal("0.60"), 7],
            ["P2", "Soap", "Care", 0.5, None, None],
        ],
        column_names=product,
    )
    client.insert(
        "dim_store",
        [["S1", "North", "America/New_York"], ["S2", "North", "America/New_York"]],
        column_names=["store_id", "region", "time_zone"],
    )
    sold = ["date_key", "store_id", "product_id", "unit_price", "event_time"]
    old = datetime(2025, 3, 10, tzinfo=UTC)
    client.insert(
        "fact_sales",
        [
            [AS_OF.date(), "S1", "P2", Decimal("4.00"), AS_OF],
            [AS_OF.date(), "S1", "P2", Decimal("5.00"), early],
            [old.date(), "S2", "P2", Decimal("9.00"), old],
        ],
        column_names=sold,
    )


def rows(found: pa.Table) -> list[dict[str, Any]]:
    return list(found.to_pylist())


def test_items_are_read_with_what_is_known(client: Client) -> None:
    found = read_items(client, ["S1", "S3"])
    assert set(found.column_names) == set(ITEMS.names)
    milk, soap, nameless = rows(found)
    assert (milk["store_id"], milk["product_id"], milk["product_name"]) == ("S1", "P1", "Milk")
    assert (milk["category"], milk["region"], milk["on_hand"]) == ("Dairy", "North", 2.0)
    assert (milk["a"], milk["b"], milk["dispersion"], milk["lead_days"]) == (30.0, 10.0, 1.5, 2.0)
    assert (milk["unit_cost"], milk["unit_price"]) == (0.6, pytest.approx(0.8))
    assert milk["shelf_life_days"] == 7.0
    assert (soap["unit_price"], soap["unit_cost"]) == (4.0, 2.0)  # the last price, the margin
    assert soap["shelf_life_days"] is None
    unknown = ("product_name", "category", "region", "unit_cost", "unit_price", "pack_units")
    assert [nameless[name] for name in unknown] == [None] * len(unknown)
    assert nameless["on_hand"] == -1.0


def test_items_are_complete_for_a_plan(client: Client) -> None:
    items = completed(read_items(client, ["S1", "S2", "S3"]))
    assert len(items) == len(SCORES)
    assert items.assumed[0] == "not known: orders on their way, pack size"
    assert "stock below zero" in items.assumed[-1]


def test_only_some_products_and_no_old_price(client: Client) -> None:
    (found,) = rows(read_items(client, ["S2"], products=["P2", "P9"]))
    assert found["product_id"] == "P2"
    assert found["unit_price"] is None  # sold a year ago
    assert rows(read_items(client, ["S2"], products=[])) == []


def test_places_are_stores_with_scores(client: Client) -> None:
    assert [(one.store_id, one.region, one.time_zone) for one in places(client)] == [
        ("S1", "North", "America/New_York"),
        ("S2", "North", "America/New_York"),
        ("S3", "", ""),
    ]
    assert newest_score(client) == AS_OF


def cli(home: Path, warehouse: WarehouseSettings) -> typer.Typer:
    app = typer.Typer()

    @app.callback()
    def root(ctx: typer.Context) -> None:
        ctx.obj = load_settings(home=home, warehouse=warehouse.model_dump())

    command.register(app)
    return app


def test_plan_fetches_from_the_store_nearby(warehouse: WarehouseSettings, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli(tmp_path, warehouse), ["plan", "--store", "S1", "--json"])
    assert result.exit_code == 0, result.exception
    (found,) = json.loads(result.output)
    assert (found["product_id"], found["action"], found["from_store_id"]) == (
        "P1",
        "transfer",
        "S2",
    )
    assert found["units"] == found["order_up_to"] - 2
    assert found["low_confidence"] is True


def test_what_if_reads_all_stores(warehouse: WarehouseSettings, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli(tmp_path, warehouse), ["what-if", "--lead-time", "+2d", "--json"]
    )
    assert result.exit_code == 0, result.exception
    found = json.loads(result.output)
    assert found["now"]["items"] == len(SCORES)
    assert found["then"]["order_up_to_units"] > found["now"]["order_up_to_units"]


def test_nothing_scored_yet_is_said(empty: WarehouseSettings, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli(tmp_path, empty), ["plan"])
    assert isinstance(result.exception, ConfigError)
    assert "nothing to plan" in str(result.exception)


def test_orders_on_their_way_are_read(client: Client) -> None:
    columns = ["order_id", "store_id", "product_id", "units", "ordered_at", "expected_at"]
    day = timedelta(days=1)
    orders = [
        ["1", "S1", "P1", 12, AS_OF - day, AS_OF + 1.5 * day],
        ["2", "S1", "P1", 5, AS_OF - day, AS_OF + 3 * day],
        ["3", "S1", "P1", 99, AS_OF - 3 * day, AS_OF - day],
        ["4", "S1", "P1", 99, AS_OF + day, AS_OF + 2 * day],
    ]
    client.insert("purchase_orders", orders, column_names=columns)
    try:
        milk, soap = rows(read_items(client, ["S1"]))
    finally:
        client.command("TRUNCATE TABLE purchase_orders")
    assert (milk["on_order_units"], milk["next_receipt_days"]) == (17.0, 1.5)
    assert (soap["on_order_units"], soap["next_receipt_days"]) == (0.0, None)
