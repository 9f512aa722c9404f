"""What the live score knows of supply, confidence and time, and the truth of stock, on a real
warehouse."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from clickhouse.client import Client
from clickhouse.live_inputs import drifting
from streaming import watch
from streaming.anomalies import AnomalyMarks
from streaming.shelf_counts import ShelfCounts
from streaming.sinks import WarehouseSink
from streaming.watch import StockWatch
from tests.builders import AT, TOPIC_IDS, decoded, moved, sold
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tests.integration.test_warehouse_http import eventually
from tillstream.clock import FakeClock
from tillstream.settings import RiskSettings

pytestmark = pytest.mark.integration

RULES = RiskSettings(lead_time_days=2.0, default_daily_units=2.0, prior_weight_days=7.0)
# Long after the events, so the stream is a replay.
CLOCK = FakeClock(round((AT + timedelta(days=3000)).timestamp() * 1000))
DAY = timedelta(days=1)
MIDNIGHT = AT.replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def client(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "live_score") as client:
        yield client


@pytest.fixture
def counted() -> list[dict[str, int]]:
    return []


@pytest.fixture
def sink(client: Client, counted: list[dict[str, int]]) -> Iterator[WarehouseSink]:
    follower = StockWatch(
        client, RULES, None, clock=CLOCK, on_scored=lambda c: counted.append({**c})
    )
    sink = WarehouseSink(client, followers=(AnomalyMarks(client), follower))
    sink.open()
    yield sink
    sink.close()


def write(sink: WarehouseSink, *rows: dict[str, Any]) -> None:
    sink.write(decoded(*rows), TOPIC_IDS, batch_id=0)


def stored(client: Client, table: str, columns: str) -> list[tuple[Any, ...]]:
    found = client.query(f"SELECT {columns} FROM {table} ORDER BY ALL")
    return [tuple(row) for row in found.result_rows]


def risks(client: Client) -> dict[str, float]:
    return dict(stored(client, "stockout_risk FINAL", "product_id, risk"))


def know(client: Client, *products: str, cost: str = "1.5", life: str = "NULL") -> None:
    """Products of a supplier that takes two days, with what was learned of them."""
    for product in products:
        client.command(
            "INSERT INTO dim_product (product_id, supplier_id, unit_cost, shelf_life_days)"
            f" VALUES ('{product}', 'V1', {cost}, {life})"
        )
        client.insert(
            "demand_belief",
            [["304", product, 40.0, 20.0, 1.5, MIDNIGHT, MIDNIGHT, MIDNIGHT - 30 * DAY]],
            column_names=[
                *("store_id", "product_id", "a", "b", "dispersion", "as_of", "learned_at"),
                "first_seen",
            ],
        )
    client.command("INSERT INTO dim_supplier VALUES ('V1', 'Mill', 2.0, now64(6))")


def order(client: Client, product: str, *, ordered: Any, expected: Any, units: int = 40) -> None:
    client.insert(
        "purchase_orders",
        [[f"{product}-{expected}", "304", product, units, ordered, expected]],
        column_names=[
            *("order_id", "store_id", "product_id", "units", "ordered_at", "expected_at"),
        ],
    )


def test_orders_on_their_way_count_until_they_have_come(
    client: Client, sink: WarehouseSink
) -> None:
    products = ("plain", "coming", "not_yet_ordered", "came")
    know(client, *products)
    tomorrow = AT + DAY
    order(client, "coming", ordered=AT - DAY, expected=tomorrow)
    order(client, "not_yet_ordered", ordered=AT + DAY / 2, expected=tomorrow)
    order(client, "came", ordered=AT - DAY, expected=AT + timedelta(hours=1))
    write(sink, *(moved(i, product_id=p, quantity_on_hand=4) for i, p in enumerate(products)))
    first = risks(client)
    assert first["coming"] < 0.7 * first["plain"]
    assert first["not_yet_ordered"] == first["plain"]
    assert first["came"] < 0.3 * first["plain"]
    (due,) = stored(
        client, "stockout_risk FINAL WHERE product_id = 'coming'", "coming_units, next_receipt_at"
    )
    assert (due[0], due[1].replace(tzinfo=None)) == (40, tomorrow.replace(tzinfo=None))
    # It comes, and is sold at once: the order must not be hoped for any longer.
    write(
        sink,
        moved(10, product_id="came", kind="delivery", quantity=40, quantity_on_hand=44),
        moved(11, product_id="came", quantity=-40, quantity_on_hand=4),
    )
    assert risks(client)["came"] == pytest.approx(first["plain"])


def test_a_strike_and_what_must_be_thrown_away_are_seen(
    client: Client, sink: WarehouseSink
) -> None:
    know(client, "held")
    know(client, "fresh", life="2")
    for number in range(6):
        order(client, f"other-{number}", ordered=AT - 3 * DAY, expected=AT - DAY / 2)
        client.command(
            f"INSERT INTO dim_product (product_id, supplier_id) VALUES ('other-{number}', 'V1')"
        )
    write(
        sink,
        moved(0, product_id="held", quantity_on_hand=9),
        moved(1, product_id="fresh", kind="delivery", quantity=30, quantity_on_hand=30),
    )
    columns = "product_id, held_up_days, round(spoilt_risk, 2), risk > 0.9"
    assert stored(client, "stockout_risk FINAL", columns) == [
        ("fresh", 1.0, 1.0, True),
        ("held", 1.0, 0.0, False),
    ]


def test_what_stands_on_a_default_says_so_and_is_counted(
    client: Client, sink: WarehouseSink, counted: list[dict[str, int]]
) -> None:
    know(client, "known")
    know(client, "no_cost", cost="NULL")
    write(
        sink,
        *(moved(i, product_id=p, quantity_on_hand=4) for i, p in enumerate(("new", "no_cost"))),
        moved(5, product_id="known", quantity_on_hand=4),
        sold(0, product_id="known"),
    )
    columns = "product_id, low_confidence, lead_time_days, expected_lost_units > 0"
    assert stored(client, "stockout_risk FINAL", columns) == [
        ("known", "", 2.0, True),
        ("new", "lead time, cost, price, history", 2.0, True),
        ("no_cost", "cost, price", 2.0, True),
    ]
    assert counted == [
        {
            **{"scored": 3, "low_confidence": 2},
            **{"lead time": 1, "cost": 2, "price": 2, "history": 1},
        }
    ]


def test_time_without_stock_is_no_evidence_against_demand(
    client: Client, sink: WarehouseSink
) -> None:
    know(client, "empty", "idle")
    write(
        sink, *(moved(i, product_id=p, quantity_on_hand=4) for i, p in enumerate(("empty", "idle")))
    )
    write(
        sink,
        moved(
            2, product_id="empty", quantity=-4, quantity_on_hand=0, event_time=MIDNIGHT + DAY / 2
        ),
        moved(3, product_id="idle", quantity=-1, quantity_on_hand=3, event_time=MIDNIGHT + DAY),
        moved(
            4,
            product_id="empty",
            kind="delivery",
            quantity=5,
            quantity_on_hand=5,
            event_time=MIDNIGHT + DAY,
        ),
    )
    columns = "product_id, round(evidence_days, 6)"
    assert stored(client, "stockout_risk FINAL", columns) == [("empty", 0.5), ("idle", 1.0)]


def test_shelves_that_only_time_has_changed_are_scored_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_SWEEP_EVERY_S", 0.0)
    monkeypatch.setattr(watch, "_AT_MOST_EVERY_S", 0.0)
    know(client, "untouched", "safe", "other")
    follower = StockWatch(client, RULES, None, clock=CLOCK, background=True)
    sink = WarehouseSink(client, followers=(follower,))
    sink.open()
    write(
        sink,
        moved(0, product_id="untouched", quantity_on_hand=4),
        moved(1, product_id="safe", quantity_on_hand=400),
    )
    sink.settle()
    write(sink, moved(2, product_id="other", quantity_on_hand=4, event_time=AT + DAY / 4))
    sink.settle()
    sink.close()
    columns = "product_id, dateDiff('hour', fromUnixTimestamp64Milli({}, 'UTC'), as_of)"
    found = stored(client, "stockout_risk FINAL", columns.format(round(AT.timestamp() * 1000)))
    assert found == [("other", 6), ("safe", 0), ("untouched", 6)]


def test_a_chain_is_swept_store_after_store(client: Client) -> None:
    for store, products in (("A", 3), ("B", 2), ("C", 4)):
        for product in range(products):
            client.command(
                "INSERT INTO stockout_risk_history (store_id, product_id, risk, on_hand, as_of)"
                f" VALUES ('{store}', 'p{product}', {0.5 if product else 0.001}, 1,"
                f" '{AT - DAY:%Y-%m-%d %H:%M:%S}')"
            )

    def swept(after: str, *, shelves: int, at_most: int = 10) -> tuple[list[str], str]:
        before_ms = round(AT.timestamp() * 1000)
        found, last = drifting(
            client, after=after, shelves=shelves, before_ms=before_ms, at_most=at_most
        )
        return [f"{row['store_id']}/{row['product_id']}" for row in found.to_pylist()], last

    assert swept("", shelves=4) == (["A/p1", "A/p2", "B/p1"], "B")
    assert swept("B", shelves=4) == (["C/p1", "C/p2", "C/p3"], "C")
    assert swept("C", shelves=4) == (["A/p1", "A/p2", "B/p1"], "B")
    assert swept("", shelves=1, at_most=1) == (["A/p1"], "A")
    assert swept("", shelves=100)[1] == "C"


def test_shelves_with_stock_are_counted_for_all(client: Client) -> None:
    counts = ShelfCounts(client, every_s=0.05)
    columns = "store_id, shelves, with_stock"
    with closing(WarehouseSink(client, followers=(counts,))) as sink:
        sink.open()
        write(sink, *(moved(n, product_id=f"p{n}", quantity_on_hand=n) for n in range(4)))
        ((store, shelves, with_stock),) = asked = stored(client, "bi_availability", columns)
        assert (shelves, with_stock) == (4, 3)
        eventually(lambda: stored(client, "shelf_counts FINAL", columns) == asked)
        # What nobody has counted since is not looked at: that is the point of it.
        client.command("INSERT INTO current_stock_states SELECT 1, 'other', 'p', 1")
        assert stored(client, "bi_availability", columns) == asked
        write(sink, moved(9, product_id="p3", quantity=-3, quantity_on_hand=0))
    assert stored(client, "bi_availability", columns) == [(store, 4, 2), ("other", 1, 1)]


def test_counts_of_a_stream_that_has_stopped_give_way(client: Client) -> None:
    client.command(
        "INSERT INTO shelf_counts SELECT 'gone', 9, 9, now64(3), now64(3) - INTERVAL 6 MINUTE"
    )
    assert stored(client, "bi_availability", "store_id") == []
    client.command("INSERT INTO current_stock_states SELECT 1, 'here', 'p', 1")
    assert stored(client, "bi_availability", "store_id") == [("here",)]


def test_scores_from_memory_are_those_from_the_warehouse(client: Client) -> None:
    know(client, *(f"p{number}" for number in range(4)))
    alive = FakeClock(round(AT.timestamp() * 1000))

    def score(shelves_in_memory: int) -> list[tuple[Any, ...]]:
        for table in ("fact_inventory", "fact_sales", "event_index", "stockout_risk_history"):
            client.command(f"TRUNCATE TABLE {table}")
        for table in ("current_stock_states", "velocity_5m_sums", "item_sales_daily"):
            client.command(f"TRUNCATE TABLE {table}")
        rules = RULES.model_copy(update={"shelves_in_memory": shelves_in_memory})
        follower = StockWatch(client, rules, None, clock=alive)
        with closing(WarehouseSink(client, followers=(follower,))) as sink:
            sink.open()
            for batch in range(4):
                events = [
                    *(moved(8 * batch + n, product_id=f"p{n}", quantity=-2) for n in range(4)),
                    *(sold(8 * batch + n, product_id=f"p{n}") for n in range(batch)),
                ]
                write(sink, *events)
            assert follower.sizes["shelves"] == min(4, shelves_in_memory)
        columns = "* EXCEPT (computed_at)"
        return stored(client, "stockout_risk_history", columns)

    asked = score(0)
    assert len(asked) == 16
    assert score(100) == asked


def test_variance_is_right_whatever_order_reports_come_in(
    client: Client, sink: WarehouseSink
) -> None:
    """Counted 10 at first, sold to 8, sold to 7, counted 5 the next day; then a report is missing,
    and one day ends below nothing."""

    def report(
        sequence: int, change: int, left: int, at: Any, kind: str = "sale"
    ) -> dict[str, Any]:
        return moved(
            sequence,
            sequence=sequence,
            quantity=change,
            quantity_on_hand=left,
            kind=kind,
            event_time=at,
        )

    columns = (
        "dateDiff('day', toDate({}), date_key), closing_on_hand, moved_units, variance_units,"
        " missing_movements, count_difference_units, shrinkage_units, negative_reports"
    ).format(f"toDateTime({int(MIDNIGHT.timestamp())}, 'UTC')")
    write(sink, report(3, -1, 7, AT), report(1, 10, 10, AT, "count"))
    assert stored(client, "stock_variance_daily", columns) == [(0, 7, 9, -2, 1, 0, 0, 0)]
    late, again = report(2, -2, 8, AT), {**report(1, 10, 10, AT, "count"), "offset": 9}
    write(sink, report(4, -2, 5, AT + DAY, "count"), late, again)
    write(sink, report(6, -7, -3, AT + 2 * DAY), report(7, -1, -4, AT + 2 * DAY, "shrinkage"))
    assert stored(client, "stock_variance_daily", columns) == [
        (0, 7, 7, 0, 0, 0, 0, 0),
        (1, 5, -2, 0, 0, -2, 2, 0),
        (2, -4, -8, -1, 1, 0, 1, 2),
    ]
    assert stored(client, "anomalies", "kind, value") == [
        ("negative_stock", -4.0),
        ("negative_stock", -3.0),
    ]
