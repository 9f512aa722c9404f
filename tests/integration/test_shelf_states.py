"""What memory says of shelves is what the warehouse says, batch after batch."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from clickhouse import live_inputs
from clickhouse.client import Client
from streaming.batch import Batch
from streaming.enrich import Dimensions
from streaming.shelf_states import ShelfStates
from streaming.sinks import Follower, WarehouseSink
from tests.builders import AT, TOPIC_IDS, decoded, moved, sold, visited
from tests.fixtures.warehouse import WarehouseProcess, own_client

pytestmark = pytest.mark.integration

STORES, PRODUCTS = ("304", "330"), [f"p{number}" for number in range(12)]
SHELVES = pa.table(
    {
        "store_id": [store for store in STORES for _ in PRODUCTS],
        "product_id": PRODUCTS * len(STORES),
    }
)
TODAY = int(AT.timestamp()) // 86_400
DAY = timedelta(days=1)


class Remembering(Follower):
    def __init__(self, states: ShelfStates) -> None:
        self.states = states

    def open(self) -> None:
        self.states.forget()

    def stored(self, winners: pa.Table) -> None:
        self.states.stored(winners)

    def __call__(self, batch: Batch, dimensions: Dimensions) -> None:
        pass


@pytest.fixture
def client(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "shelf_states") as client:
        yield client


@pytest.fixture
def states(client: Client) -> ShelfStates:
    return ShelfStates(client, at_most=1_000)


@pytest.fixture
def sink(client: Client, states: ShelfStates) -> Iterator[WarehouseSink]:
    sink = WarehouseSink(client, followers=(Remembering(states),))
    sink.open()
    yield sink
    sink.close()


def events(random: Random, first_offset: int, count: int) -> list[dict[str, Any]]:
    """Sales and movements of days past and to come, out of order, some of them sent before."""
    rows: list[dict[str, Any]] = []
    for offset in range(first_offset, first_offset + count):
        shelf = {"store_id": random.choice(STORES), "product_id": random.choice(PRODUCTS[:9])}
        at = AT + DAY * random.randint(-2, 1) + timedelta(seconds=random.randint(0, 3))
        name = f"event-{random.randint(0, 2 * (first_offset + count))}"
        kind = random.random()
        if kind < 0.5:
            units = random.randint(1, 4)
            money = {"quantity": units, "revenue": Decimal(units * 199).scaleb(-2)}
            rows.append(sold(offset, name, event_time=at, **shelf, **money))
        elif kind < 0.9:
            left = {"sequence": random.randint(0, 5), "quantity_on_hand": random.randint(-2, 9)}
            rows.append(moved(offset, name, event_time=at, **shelf, **left))
        else:
            rows.append(visited(offset))
    return rows


def by_shelf(found: pa.Table) -> dict[tuple[str, str], tuple[Any, ...]]:
    return {
        (row["store_id"], row["product_id"]): (
            *(row["item_key"], row["on_hand"], row["units"]),
            pytest.approx(row["revenue"], abs=1e-9),
        )
        for row in found.to_pylist()
    }


def must_agree(client: Client, states: ShelfStates, *, since_day: int) -> None:
    held = states.of(SHELVES, since_day=since_day)
    assert held is not None
    asked = live_inputs.stock_and_sales(client, SHELVES, since_s=since_day * 86_400)
    assert (held.schema.names, held.schema.types) == (asked.schema.names, asked.schema.types)
    assert by_shelf(held) == by_shelf(asked)


def test_memory_follows_the_warehouse(
    client: Client, states: ShelfStates, sink: WarehouseSink
) -> None:
    random = Random(7)
    sink.write(decoded(*events(random, 0, 60)), TOPIC_IDS, batch_id=0)
    assert states.of(SHELVES, since_day=TODAY) is None
    for number in range(1, 13):
        sink.write(decoded(*events(random, 100 * number, 40)), TOPIC_IDS, batch_id=number)
        if number % 3:
            must_agree(client, states, since_day=TODAY)
    assert len(states) > 10
    # Evidence begins on another day: all is read anew, between two batches.
    assert states.of(SHELVES, since_day=TODAY - 1) is None
    sink.write(decoded(*events(random, 2_000, 40)), TOPIC_IDS, batch_id=20)
    must_agree(client, states, since_day=TODAY - 1)


def test_what_an_earlier_try_stored_is_not_added_again(
    client: Client, states: ShelfStates, sink: WarehouseSink
) -> None:
    states.of(SHELVES, since_day=TODAY)
    sink.write(decoded(sold(0), moved(0)), TOPIC_IDS, batch_id=0)
    batch = decoded(sold(1), moved(1), sold(2, product_id="p1"))
    sink.landing.land(batch.slice(0, 2), TOPIC_IDS)
    sink.open()
    states.of(SHELVES, since_day=TODAY)
    sink.write(decoded(sold(9, product_id="p2")), TOPIC_IDS, batch_id=1)
    sink.write(batch, TOPIC_IDS, batch_id=2)
    shelf = pa.table({"store_id": ["304"], "product_id": ["1095275"]})
    held = states.of(shelf, since_day=TODAY)
    assert held is not None
    assert held["units"].to_pylist() == [4]
    must_agree(client, states, since_day=TODAY)


def test_with_too_many_shelves_the_warehouse_is_asked(client: Client) -> None:
    states = ShelfStates(client, at_most=2)
    with closing(WarehouseSink(client, followers=(Remembering(states),))) as sink:
        sink.open()
        states.of(SHELVES, since_day=TODAY)
        sink.write(decoded(moved(0)), TOPIC_IDS, batch_id=0)
        must_agree(client, states, since_day=TODAY)
        more = [moved(n, product_id=f"p{n}") for n in range(1, 3)]
        sink.write(decoded(*more), TOPIC_IDS, batch_id=1)
        must_agree(client, states, since_day=TODAY)
        assert len(states) == 0
        sink.write(decoded(moved(9)), TOPIC_IDS, batch_id=2)
        assert states.of(SHELVES, since_day=TODAY) is None
