"""The events a replay makes of recorded lines, on lines written by hand."""

from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from simulators.plan import ReplayInputs, ReplayPlan, StockedItem
from simulators.policy import ReplenishmentPolicy
from simulators.replay import events
from tillstream.contracts.identity import event_uuid
from tillstream.contracts.topics import Topic

MONDAY = date(2017, 11, 20)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
STORE, MILK, FUEL = 5, 11, 22
COLUMNS = (
    "time_ms",
    "store_id",
    "basket_id",
    "line_number",
    "product_id",
    "household_id",
    "quantity",
    "sales_cents",
    "retail_disc_cents",
    "coupon_match_cents",
)


def line(
    hour: float,
    quantity: int,
    *,
    product: int = MILK,
    cents: int = 300,
    retail: int = 0,
    match: int = 0,
) -> tuple[int, ...]:
    at_ms = ReplayPlan(MONDAY, 1).start_ms + round(hour * HOUR_MS)
    return (at_ms, STORE, at_ms // 1000, 1, product, 77, quantity, cents, retail, match)


def inputs(
    *lines: tuple[int, ...],
    opening: int = 10,
    order_up_to: int = 1,
    pack_units: int = 6,
    lead_time_days: int = 2,
    days: int = 7,
    shift_ms: int = 0,
    last_price: int | None = None,
) -> ReplayInputs:
    policy = ReplenishmentPolicy(order_up_to, pack_units, lead_time_days)
    return ReplayInputs(
        plan=ReplayPlan(MONDAY, days, shift_ms=shift_ms),
        sales=pd.DataFrame(lines, columns=list(COLUMNS)),
        items=[StockedItem(STORE, MILK, opening, policy)],
        last_prices={} if last_price is None else {(STORE, MILK): last_price},
        fixed_price_products=frozenset({MILK}),
        demand=pd.DataFrame(),
    )


def stock(made: ReplayInputs) -> list[tuple[str, int, int]]:
    return [
        (record["reason"], record["quantity_change"], record["new_quantity"])
        for topic, record in events(made)
        if topic is Topic.INVENTORY
    ]


def of(topic: Topic, made: ReplayInputs) -> list[dict[str, Any]]:
    return [record for each, record in events(made) if each is topic]


def test_a_sale_is_sent_as_the_till_rang_it_up() -> None:
    (sale,) = of(Topic.SALES, inputs(line(12, 3, cents=1000, retail=149, match=50)))
    assert sale == {
        "transaction_id": "1511179200",
        "store_id": "5",
        "product_id": "11",
        "quantity": 3,
        "unit_price": Decimal("3.9967"),  # (10.00 + 1.49 + 0.50) / 3
        "timestamp": 1_511_179_200_000,
        "customer_id": "77",
        "payment_method": "unknown",
        "event_id": event_uuid("complete-journey", 1_511_179_200, MILK, 1),
        "line_number": 1,
        "line_amount": Decimal("10.0000"),
        "discount": Decimal("1.9900"),
        "promotion_id": None,
    }


def test_stock_is_counted_at_the_start_and_moves_with_each_sale() -> None:
    assert stock(inputs(line(12, 3), line(13, 2))) == [
        ("count", 10, 10),
        ("sale", -3, 7),
        ("sale", -2, 5),
    ]


def test_more_sold_than_the_book_shows_is_found_first_and_then_sold() -> None:
    assert stock(inputs(line(12, 5), line(13, 1), opening=3, order_up_to=0)) == [
        ("count", 3, 3),
        ("adjustment", 2, 5),
        ("sale", -5, 0),
        ("adjustment", 1, 1),
        ("sale", -1, 0),
    ]


def test_the_correction_comes_before_its_sale_and_the_movement_after() -> None:
    made = list(events(inputs(line(12, 5), opening=3, order_up_to=0)))
    assert [(topic, record.get("reason")) for topic, record in made] == [
        (Topic.INVENTORY, "count"),
        (Topic.INVENTORY, "adjustment"),
        (Topic.SALES, None),
        (Topic.INVENTORY, "sale"),
    ]
    assert len({record["timestamp"] for _, record in made[1:]}) == 1


@pytest.mark.parametrize(("cents", "amount"), [(0, "0.0000"), (250, "2.5000")])
def test_a_line_without_units_is_sent_and_moves_no_stock(cents: int, amount: str) -> None:
    made = inputs(line(12, 0, cents=cents), last_price=99)
    (sale,) = of(Topic.SALES, made)
    assert (sale["quantity"], str(sale["line_amount"])) == (0, amount)
    assert sale["unit_price"] == Decimal(0)
    assert stock(made) == [("count", 10, 10)]
    assert of(Topic.PRICES, made) == []


def test_fuel_is_sent_with_its_quantity_and_has_no_stock() -> None:
    made = inputs(line(12, 89_638, product=FUEL, cents=2_500))
    (sale,) = of(Topic.SALES, made)
    assert sale["quantity"] == 89_638
    assert sale["unit_price"] == Decimal("0.0003")
    assert stock(made) == [("count", 10, 10)]


def test_an_opening_order_arrives_one_lead_time_after_the_start() -> None:
    made = inputs(line(12, 1), opening=2, order_up_to=3)
    (delivery,) = [record for record in of(Topic.INVENTORY, made) if record["reason"] == "delivery"]
    start_ms = made.plan.start_ms
    assert (delivery["quantity_change"], delivery["new_quantity"]) == (6, 7)
    assert start_ms + 2 * DAY_MS + 10 * HOUR_MS <= delivery["timestamp"]
    assert delivery["timestamp"] < start_ms + 2 * DAY_MS + 11 * HOUR_MS


def test_what_is_on_order_is_not_ordered_again() -> None:
    made = inputs(line(12, 1), line(36, 1), opening=2, order_up_to=3, lead_time_days=3, days=14)
    deliveries = [change for reason, change, _ in stock(made) if reason == "delivery"]
    assert deliveries == [6]


def test_a_shelf_that_ran_empty_is_filled_by_a_later_review() -> None:
    made = inputs(line(12, 1), opening=1, order_up_to=1, days=14)
    assert stock(made) == [("count", 1, 1), ("sale", -1, 0), ("delivery", 6, 6)]


def test_nothing_happens_at_or_after_the_end() -> None:
    made = inputs(line(12, 1), opening=0, order_up_to=3, lead_time_days=2, days=2)
    assert [reason for reason, _, _ in stock(made)] == ["count", "adjustment", "sale"]
    assert all(record["timestamp"] < made.plan.end_ms for _, record in events(made))


def test_sequences_count_up_and_a_later_start_counts_on() -> None:
    sequences = [record["sequence"] for record in of(Topic.INVENTORY, inputs(line(12, 3)))]
    assert sequences == [20171120000001, 20171120000002]


def test_a_price_change_is_sent_before_the_line_that_shows_it() -> None:
    made = list(events(inputs(line(12, 2, cents=500, retail=98), last_price=29_900)))
    topic, change = made[1]
    assert topic is Topic.PRICES
    assert (change["old_price"], change["new_price"]) == (Decimal("2.99"), Decimal("2.50"))
    assert (change["reason"], change["effective_from"]) == ("promotion", 1_511_179_200_000)
    assert made[2][0] is Topic.SALES


def test_the_first_price_seen_and_one_that_stays_are_no_change() -> None:
    lines = (line(12, 1, cents=299), line(13, 2, cents=598), line(14, 1, cents=310))
    changes = of(Topic.PRICES, inputs(*lines))
    assert [(change["new_price"], change["reason"]) for change in changes] == [
        (Decimal("3.10"), "regular")
    ]


def test_a_coupon_changes_no_shelf_price() -> None:
    made = inputs(line(12, 1, cents=249, match=50), last_price=29_900)
    assert of(Topic.PRICES, made) == []


def test_a_shift_moves_times_and_leaves_identities() -> None:
    lines = (line(12, 5, cents=500), line(60, 1, cents=90))
    recorded = list(events(inputs(*lines, opening=3, last_price=99)))
    shifted = list(events(inputs(*lines, opening=3, last_price=99, shift_ms=DAY_MS)))

    for (topic, record), (_, moved) in zip(recorded, shifted, strict=True):
        times = {"timestamp": record["timestamp"] + DAY_MS}
        if topic is Topic.PRICES:
            times["effective_from"] = record["effective_from"] + DAY_MS
        assert moved == {**record, **times}
