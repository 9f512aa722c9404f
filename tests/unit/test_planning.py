"""Plans from tables of items: what is suggested, why, and what is assumed."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tillstream.errors import ConfigError
from tillstream.planning.items import DEFAULTS, ITEMS, LATE_DAYS, completed
from tillstream.planning.plan import SUGGESTIONS, Policy, assess, plan, short_products
from tillstream.planning.whatif import Change, changed, combined, what_if

# A Tuesday afternoon; orders are written on Wednesday.
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
POLICY = Policy(now=NOW, day=date(2026, 3, 11), service_level=0.95)

MILK: dict[str, Any] = {
    "store_id": "S1",
    "product_id": "P1",
    "product_name": "Milk",
    "category": "Dairy",
    "region": "North",
    "a": 310.0,
    "b": 100.0,
    "dispersion": 1.2,
    "on_hand": 4.0,
    "on_order_units": 12.0,
    "next_receipt_days": 0.8,
    "lead_days": 2.0,
    "lead_late_share": 0.05,
    "pack_units": 12,
    "min_order_units": 12,
    "capacity_units": 48.0,
    "shelf_life_days": 12.0,
    "unit_cost": 0.8,
    "unit_price": 1.2,
}
SOAP = {
    **MILK,
    "product_id": "P2",
    "product_name": "Soap",
    "category": "Care",
    "a": 40.0,
    "on_hand": 0.0,
    "on_order_units": 0.0,
    "pack_units": 6,
    "min_order_units": 6,
    "shelf_life_days": None,
}


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=ITEMS)


def planned(*rows: dict[str, Any], policy: Policy = POLICY, **given: Any) -> list[dict[str, Any]]:
    found = plan(table(*rows), policy, **given)
    assert found.schema.equals(SUGGESTIONS)
    return list(found.to_pylist())


def brief(rows: list[dict[str, Any]]) -> list[tuple[str, str, str, int]]:
    return [(row["store_id"], row["product_id"], row["action"], row["units"]) for row in rows]


def test_order_says_why() -> None:
    (found,) = planned(MILK)
    assert found["reason"] == (
        "sells 3.1 a day; 4 on hand, 12 due tomorrow; lasts until Sunday; order 1 pack of 12"
    )
    assert (found["units"], found["packs"], found["order_cost"]) == (12, 1, pytest.approx(9.6))
    assert found["on_hand"] + found["on_order_units"] < found["reorder_point"]
    assert found["safety_stock"] == pytest.approx(found["reorder_point"] - 3.1 * (0.5 + 2.1 + 1))
    assert found["service_level"] == 0.95
    assert found["low_confidence"] is False


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"next_receipt_days": 1.4}, "runs out tomorrow, before that comes"),
        (
            {"next_receipt_days": None},
            "4 on hand, 12 on the way; lasts until tomorrow without that",
        ),
        ({"on_order_units": 0.0}, "4 on hand; lasts until tomorrow; an order comes Friday"),
        ({"on_hand": 0.0, "on_order_units": 0.0}, "a day; none on hand; order "),
        ({"on_hand": 0.0}, "a day; none on hand, 12 due tomorrow; order "),
        ({"a": 25.0, "on_hand": 1.0, "on_order_units": 0.0}, "sells one every 4 days; 1 on hand"),
        ({"a": 96.0, "on_hand": 1.0, "on_order_units": 0.0}, "sells 1.0 a day"),
        ({"a": 0.1, "on_hand": 0.0, "on_order_units": 0.0}, "hardly sells"),
    ],
)
def test_reason_tells_the_shelf(changes: dict[str, Any], told: str) -> None:
    always = Policy(now=NOW, day=POLICY.day, service_level=0.999)
    (found,) = planned({**MILK, "shelf_life_days": None, "pack_units": 1, **changes}, policy=always)
    assert told in found["reason"]


def test_enough_needs_nothing() -> None:
    assert planned({**MILK, "on_hand": 40.0}) == []
    assert plan(table(), POLICY).num_rows == 0


def test_orders_of_a_later_day_cover_the_days_until_then() -> None:
    (soon,) = planned(MILK)
    (later,) = planned(MILK, policy=Policy(now=NOW, day=date(2026, 3, 14), service_level=0.95))
    assert later["reorder_point"] - soon["reorder_point"] >= 9  # three days at three a day
    assert Policy(now=NOW, day=NOW.date()).ahead_days == 0.0
    assert POLICY.ahead_days == 0.5


def test_service_level_by_category_wins() -> None:
    policy = Policy(now=NOW, day=POLICY.day, service_level=0.9, by_category={"Care": 0.99})
    found = assess(completed(table(MILK, SOAP)), policy)
    assert found.service_level.tolist() == [0.9, 0.99]


def test_service_level_follows_from_margin_and_spoilage() -> None:
    policy = Policy(now=NOW, day=POLICY.day)
    crab = {**MILK, "shelf_life_days": 2.0}
    found = assess(completed(table(MILK, crab, SOAP)), policy).service_level
    assert found[1] < found[0] <= found[2] == 0.99


def test_pack_that_would_spoil_is_not_ordered_and_says_so() -> None:
    crab = {**SOAP, "pack_units": 8, "min_order_units": 1, "shelf_life_days": 3.0}
    (found,) = planned(crab)
    assert (found["action"], found["units"], found["order_cost"]) == ("blocked", 0, None)
    assert found["reason"].endswith(
        "8, the least to order, would not sell within 3 days of shelf life"
    )


def test_full_shelf_takes_what_fits() -> None:
    (found,) = planned({**SOAP, "a": 1_000.0, "capacity_units": 14.0})
    # Ten a day: 14 fit, and 25 are sold before the earliest order comes.
    assert found["units"] == 36


def test_neighbour_with_spare_gives_before_anything_is_bought() -> None:
    near = {**SOAP, "store_id": "S2", "on_hand": 30.0}
    taken = planned(SOAP, near)
    assert brief(taken) == [("S1", "P2", "transfer", taken[0]["reorder_point"])]
    assert taken[0]["from_store_id"] == "S2"
    assert "; fetch 4 from S2, which has spare" in taken[0]["reason"]
    assert brief(planned(SOAP, {**near, "region": "South"})) == [("S1", "P2", "order", 6)]
    unknown = {**near, "region": None}
    assert brief(planned({**SOAP, "region": None}, unknown)) == [("S1", "P2", "order", 6)]


def test_part_from_a_neighbour_and_the_rest_bought() -> None:
    busy = {**SOAP, "a": 400.0}
    level = planned(busy)[0]["reorder_point"]
    near = {**busy, "store_id": "S2", "on_hand": level + 7.0}
    found = planned(busy, near)
    packs = -(-(level - 7) // 6)
    assert brief(found) == [("S1", "P2", "order", 6 * packs), ("S1", "P2", "transfer", 7)]
    # Less than a pack, with more to be bought anyway, is not worth a journey.
    assert [row["action"] for row in planned(busy, {**near, "on_hand": level + 5.0})] == ["order"]


def test_transfer_and_order_share_the_room_on_the_shelf() -> None:
    """25 fit, and 25 are sold before the earliest order comes: what is fetched takes of that."""
    busy = {**SOAP, "a": 1_000.0, "capacity_units": 25.0, "min_order_units": 1}
    near = {**busy, "store_id": "S2", "a": 1.0, "on_hand": 31.0}
    found = {row["action"]: row["units"] for row in planned(busy, near)}
    assert found == {"transfer": 31, "order": 18}


def test_what_spoils_soon_does_not_travel() -> None:
    fresh = {**SOAP, "a": 400.0, "shelf_life_days": 4.0}
    near = {**fresh, "store_id": "S2", "on_hand": 60.0}
    assert [row["action"] for row in planned(fresh, near)] == ["order"]


def test_store_planned_alone_gets_what_it_gets_in_the_plan_of_all() -> None:
    """Others nearby compete for what the same neighbours can spare."""
    rows = [{**SOAP, "store_id": f"S{n}", "a": 40.0 + n, "on_hand": 0.0} for n in range(1, 4)]
    rows.append({**SOAP, "store_id": "S9", "on_hand": 12.0})
    of_all = planned(*rows)
    for store in ("S1", "S2", "S3"):
        assert planned(*rows, stores=[store]) == [r for r in of_all if r["store_id"] == store]
    moved = sum(row["units"] for row in of_all if row["action"] == "transfer")
    assert 0 < moved <= 12


def test_most_to_lose_comes_first() -> None:
    dear = {**SOAP, "product_id": "P9", "unit_price": 30.0}
    assert [row["product_id"] for row in planned(MILK, SOAP, dear)] == ["P9", "P2", "P1"]


def test_short_products_are_those_below_their_reorder_point() -> None:
    rows = table(SOAP, {**MILK, "on_hand": 40.0}, {**SOAP, "store_id": "S2"})
    assert short_products(rows, POLICY) == ["P2"]


def test_missing_facts_get_defaults_and_are_told() -> None:
    bare = {"store_id": "S1", "product_id": "P1", "on_hand": 0.0}
    items = completed(table(bare))
    assert items.belief.a.tolist() == [DEFAULTS["a"]]
    assert items.belief.b.tolist() == [DEFAULTS["b"]]
    assert items.lead_days.tolist() == [2.0]
    assert items.limits.pack_units.tolist() == [1]
    assert items.limits.capacity_units.tolist() == [np.inf]
    assert items.unit_price.tolist() == [pytest.approx(items.unit_cost[0] / 0.75)]
    (found,) = planned(bare)
    assert found["action"] == "order"
    assert found["low_confidence"] is True
    assert found["reason"].endswith(
        "(not known: demand, orders on their way, lead time, pack size, cost, price)"
    )


def test_cost_and_price_follow_from_each_other() -> None:
    items = completed(table({**MILK, "unit_cost": None}, {**MILK, "unit_price": None}))
    assert items.unit_cost.tolist() == pytest.approx([0.9, 0.8])
    assert items.unit_price.tolist() == pytest.approx([1.2, 0.8 / 0.75])
    assert items.assumed == ["not known: cost", "not known: price"]


def test_unknown_stock_is_counted_before_anything_is_ordered() -> None:
    (found,) = planned({**SOAP, "on_hand": None})
    assert (found["action"], found["units"]) == ("blocked", 0)
    assert found["reason"] == "sells one every 2 days; count it before ordering (not known: stock)"
    near = {**SOAP, "store_id": "S2", "on_hand": None}
    assert ("S1", "P2", "order", 6) in brief(planned(SOAP, near))


def test_stock_below_zero_counts_as_none_and_is_told() -> None:
    (found,) = planned({**SOAP, "on_hand": -3.0})
    assert found["units"] == planned(SOAP)[0]["units"]
    assert found["low_confidence"] is True
    assert found["reason"].endswith("(stock below zero in the books)")


@pytest.mark.parametrize(
    ("name", "value"),
    [("pack_units", 0), ("lead_days", -1.0), ("b", 0.0), ("a", float("nan")), ("unit_cost", -2.0)],
)
def test_impossible_fact_counts_as_not_known(name: str, value: float) -> None:
    items = completed(table({**MILK, name: value}))
    assert items.assumed[0].startswith("not known: ")
    assert items.assumed == completed(table({**MILK, name: None})).assumed


def test_half_a_belief_is_none() -> None:
    for half in ({"a": None}, {"b": None}, {"a": None, "b": None}):
        items = completed(table({**MILK, **half}))
        assert (items.belief.a[0], items.belief.b[0]) == (DEFAULTS["a"], DEFAULTS["b"])
        assert items.assumed == ["not known: demand"]


def test_late_share_is_the_weight_of_the_late_delivery() -> None:
    horizon = completed(table(MILK)).horizon(review_days=1.0, ahead_days=0.5)
    assert horizon.lead_days.tolist() == [[2.5, 2.5 + LATE_DAYS]]
    assert horizon.lead_weight.tolist() == [[0.95, 0.05]]


def test_receipt_counts_only_where_it_comes_before_the_order() -> None:
    items = completed(table({**MILK, "next_receipt_days": 3.0}))
    horizon = items.horizon(review_days=1.0, ahead_days=0.5)
    assert items.available(horizon).tolist() == [[4.0, 16.0]]


def test_table_of_another_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match="no column pack_units"):
        completed(table(MILK).drop_columns(["pack_units"]))
    with pytest.raises(ConfigError, match="not as they should be"):
        completed(table(MILK).set_column(5, "a", pa.array(["many"])))


def test_change_moves_pace_lead_time_and_price() -> None:
    after = completed(changed(table(MILK), Change(lead_days=2, demand=1.2, price=0.9)))
    factor = 1.2 * 0.9**-1.6
    assert after.belief.a.tolist() == [310.0]
    assert (after.belief.a / after.belief.b)[0] == pytest.approx(3.1 * factor)
    assert after.lead_days.tolist() == [4.0]
    assert after.unit_price.tolist() == [pytest.approx(1.08)]
    assert completed(changed(table(MILK), Change(lead_days=-9))).lead_days.tolist() == [0.0]


def test_what_if_compares_both_plans() -> None:
    found = what_if(table(MILK, SOAP), POLICY, Change(lead_days=2, demand=1.2))
    assert found.now.items == found.then.items == 2
    assert found.then.daily_units == pytest.approx(1.2 * found.now.daily_units)
    assert found.then.daily_margin == pytest.approx(1.2 * found.now.daily_margin)
    assert found.then.order_up_to_units > found.now.order_up_to_units
    assert found.then.lost_units > found.now.lost_units
    assert found.now.orders == 2
    assert found.now.order_units == 18
    assert found.now.order_cost == pytest.approx(18 * 0.8)
    moved = found.moved.to_pylist()
    assert [row["product_id"] for row in moved] == ["P1", "P2"]
    assert moved[0]["level_then"] > moved[0]["level_now"]


def test_no_change_changes_nothing() -> None:
    found = what_if(table(MILK, SOAP), POLICY, Change())
    assert found.now == found.then
    assert found.moved.num_rows == 0


def test_parts_add_up() -> None:
    change = Change(demand=2.0)
    parts = [what_if(table(row), POLICY, change) for row in (SOAP, MILK)]
    both = combined(parts)
    whole = what_if(table(SOAP, MILK), POLICY, change)
    assert both.now.orders == whole.now.orders
    assert both.then.lost_units == pytest.approx(whole.then.lost_units)
    assert both.moved.to_pylist() == whole.moved.to_pylist()
