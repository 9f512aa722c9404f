"""From stock reports to alerts that know their supplier: strikes, and what is not sold any more."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from clickhouse.client import Client
from lake.client import connect as connect_lake
from producers.memory import MemoryPublisher
from simulators.world.chance import Purpose, stream
from simulators.world.scenario import SupplierStrike
from streaming.sinks import WarehouseSink
from streaming.watch import StockWatch
from tests.builders import AT, CODEC, TOPIC_IDS, decoded, moved
from tests.fixtures.past import load_orders, score_every_shelf, write_past
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tillstream.alerting import tables
from tillstream.alerting.book import Book
from tillstream.alerting.incidents import incidents
from tillstream.clock import FakeClock
from tillstream.settings import LakeSettings, RiskSettings

pytestmark = pytest.mark.integration

RULES = RiskSettings(lead_time_days=2.0, default_daily_units=4.0, prior_weight_days=7.0)
CLOCK = FakeClock(round((AT + timedelta(days=3000)).timestamp() * 1000))
STRUCK, OTHERS = 400, 1200


@pytest.fixture
def client(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "causes") as client:
        yield client


@pytest.fixture
def sink(client: Client) -> Iterator[WarehouseSink]:
    outbox = MemoryPublisher(CODEC, customer_key=b"a key for tests")
    sink = WarehouseSink(client, followers=(StockWatch(client, RULES, outbox, clock=CLOCK),))
    sink.open()
    yield sink
    sink.close()


def book(client: Client) -> Book:
    book = Book()
    current = tables.current_alerts(client, since_ms=0)
    book.add(detections=tables.steps_of(client, current))
    return book


def test_supplier_who_strikes_is_one_incident(client: Client, sink: WarehouseSink) -> None:
    client.command(
        "INSERT INTO dim_product (product_id, product_name, category, supplier_id)"
        " SELECT toString(number), concat('Item ', toString(number)), 'dairy',"
        f" if(number < {STRUCK}, 'struck', concat('V', toString(number % 9)))"
        f" FROM numbers({STRUCK + OTHERS})"
    )
    client.command("INSERT INTO dim_store (store_id, region) VALUES ('304', 'north')")
    client.command(
        "INSERT INTO dim_supplier (supplier_id, supplier_name) VALUES ('struck', 'Mill & Sons')"
    )

    def shelves(first: int, last: int, *, offset: int, on_hand: int) -> None:
        rows = [
            moved(offset + n, product_id=str(n), quantity_on_hand=on_hand)
            for n in range(first, last)
        ]
        sink.write(decoded(*rows), TOPIC_IDS, batch_id=0)

    shelves(0, STRUCK + OTHERS, offset=0, on_hand=60)
    for day in range(4):  # what is left of the struck supplier's goods, a hundred items a day
        shelves(100 * day, 100 * day + 100, offset=2000 + 100 * day, on_hand=1)
    shelves(STRUCK, STRUCK + 15, offset=3000, on_hand=1)
    views = book(client).views(now_ms=0)
    assert len(views) == STRUCK + 15
    (strike,) = incidents(views)
    assert len(strike.alert_ids) == STRUCK
    assert (strike.supplier_id, strike.supplier_name) == ("struck", "Mill & Sons")
    milk = next(view for view in views if view.product_id == "7")
    assert (milk.product_name, milk.category, milk.region) == ("Item 7", "dairy", "north")
    assert milk.days_of_cover == pytest.approx(1 / 4, rel=0.01)


def test_a_made_up_strike_is_one_incident_for_each_supplier_who_strikes(
    warehouse_server: WarehouseProcess, tmp_path: Path
) -> None:
    """From the simulator's orders, sales and counts to alerts, with what was learned of demand."""
    days, stopped = 14, 5
    strike = SupplierStrike(
        kind="supplier_strike", suppliers=0.33, from_day=days - stopped, days=stopped
    )
    lake = connect_lake(LakeSettings(), url=(tmp_path / "lake").as_uri())
    with own_client(warehouse_server, "strike") as client:
        world = write_past(
            client,
            lake,
            days=days,
            folder=tmp_path,
            shocks=[strike],
            stores=6,
            products=150,
            rate=1.0,
            seed=7,
        )
        load_orders(client, tmp_path)
        score_every_shelf(client, days=days)
        views = book(client).views(now_ms=0)
    draw = stream(world.seed, Purpose.SHOCK, subject=0).random(len(world.catalogue.suppliers))
    struck = {f"V{number:04d}" for number in np.flatnonzero(draw < strike.suppliers)}
    assert 0 < len(struck) < len(draw)
    found = incidents(views)
    assert sorted(one.supplier_id for one in found) == sorted(struck)
    theirs = {view.alert_id for view in views if view.supplier_id in struck}
    assert {alert_id for one in found for alert_id in one.alert_ids} == theirs
    assert len(theirs) > 0.8 * len(views) > 50


def test_nobody_is_woken_for_what_is_not_sold_any_more(client: Client, sink: WarehouseSink) -> None:
    client.command(
        "INSERT INTO dim_product (product_id, discontinued_on) VALUES"
        " ('old', '2017-11-01'), ('soon', '2017-12-24')"
    )
    client.command("INSERT INTO dim_store (store_id, closed_on) VALUES ('closed', '2017-11-20')")
    client.command(
        "INSERT INTO delisted_items (store_id, product_id, delisted_on) VALUES"
        " ('304', 'unlisted', '2017-01-01'), ('304', 'listed-again', NULL)"
    )
    products = ("old", "soon", "unlisted", "listed-again", "unknown")
    rows = [moved(n, product_id=name, quantity_on_hand=0) for n, name in enumerate(products)]
    rows.append(moved(9, store_id="closed", product_id="soon", quantity_on_hand=0))
    sink.write(decoded(*rows), TOPIC_IDS, batch_id=0)
    woken = {(view.store_id, view.product_id) for view in book(client).views(now_ms=0)}
    assert woken == {("304", "soon"), ("304", "listed-again"), ("304", "unknown")}
