"""The recorded sales themselves, and what is derived from them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pytest

from simulators.complete_journey import expected_windows, products, sales_between, store_ids
from simulators.demand import demand_before, history_before
from simulators.dimensions import dimensions
from simulators.plan import (
    ReplayInputs,
    ReplayPlan,
    choose_stores,
    prepare,
    shift_to_end_at,
)
from simulators.replay import events
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError

DAY = date(2017, 11, 20)
WINDOW_MS = 300_000


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def one_day(cache: Path) -> ReplayInputs:
    return prepare(ReplayPlan(DAY, 1), cache=cache)


def windows_of(inputs: ReplayInputs) -> dict[tuple[int, str, str], tuple[int, Decimal, int]]:
    windows: dict[tuple[int, str, str], tuple[int, Decimal, int]] = {}
    for topic, record in events(inputs):
        if topic is Topic.SALES:
            start_ms = record["timestamp"] // WINDOW_MS * WINDOW_MS
            key = (start_ms, record["store_id"], record["product_id"])
            units, revenue, lines = windows.get(key, (0, Decimal(0), 0))
            windows[key] = (
                units + record["quantity"],
                revenue + record["line_amount"],
                lines + 1,
            )
    return windows


def rows(frame: pd.DataFrame) -> Iterator[tuple[int, str, str, int, Decimal, int]]:
    for start, store, product, units, revenue, lines in frame.itertuples(index=False, name=None):
        yield (start.value // 1_000_000, store, product, units, revenue, lines)


def test_the_recorded_week_has_these_totals() -> None:
    windows = expected_windows(DAY, 7)
    assert len(windows) == 28_334
    assert windows["lines"].sum() == 28_366
    assert windows["units"].sum() == 2_960_072
    assert windows["revenue"].sum() == Decimal("92356.48")
    assert list(windows.columns) == [
        "window_start",
        "store_id",
        "product_id",
        "units",
        "revenue",
        "lines",
    ]


def test_every_window_of_a_replayed_day_is_that_of_the_data_set(one_day: ReplayInputs) -> None:
    expected = {row[:3]: row[3:] for row in rows(expected_windows(DAY, 1))}
    assert len(expected) > 4_000
    assert windows_of(one_day) == expected


def test_a_replay_that_ends_now_falls_into_the_same_windows(one_day: ReplayInputs) -> None:
    now_ms = 1_800_000_123_456
    shift_ms = shift_to_end_at(one_day.plan.end_ms, now_ms)
    moved = replace(one_day, plan=replace(one_day.plan, shift_ms=shift_ms))

    assert 0 <= now_ms - (one_day.plan.end_ms + shift_ms) < WINDOW_MS
    expected = {(row[0] + shift_ms, *row[1:3]): row[3:] for row in rows(expected_windows(DAY, 1))}
    assert windows_of(moved) == expected


def test_lines_come_in_one_order_and_are_numbered_within_their_basket(cache: Path) -> None:
    lines = sales_between(date(2017, 3, 1), 120, cache=cache)
    order = ["time_ms", "store_id", "basket_id", "product_id"]
    assert lines[order].equals(lines[order].sort_values(order, ignore_index=True))
    assert lines["line_number"].equals(
        lines.groupby("basket_id").cumcount().add(1).astype("int32").rename("line_number")
    )


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    first = products(cache=tmp_path)
    (file,) = (tmp_path / "complete-journey").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert products(cache=tmp_path).equals(first)


def test_the_same_plan_gives_the_same_bytes(cache: Path, one_day: ReplayInputs) -> None:
    codec = Codec(load_catalogue())

    def encoded(inputs: ReplayInputs) -> list[bytes]:
        made = (event for _, event in zip(range(6_000), events(inputs), strict=False))
        return [
            codec.encode(topic, {**record, "customer_id": None} if topic is Topic.SALES else record)
            for topic, record in made
        ]

    assert encoded(prepare(ReplayPlan(DAY, 1), cache=cache)) == encoded(one_day)


def test_events_are_in_order_of_time_and_all_different(one_day: ReplayInputs) -> None:
    made = list(events(one_day))
    times = [record["timestamp"] for _, record in made]
    assert times == sorted(times)
    assert times[-1] < one_day.plan.end_ms
    ids = [
        record.get("inventory_id") or record.get("price_change_id") or record["event_id"]
        for _, record in made
    ]
    assert len(set(ids)) == len(ids)


def test_book_stock_adds_up_and_is_never_negative(cache: Path) -> None:
    book: dict[tuple[str, str], tuple[int, int]] = {}
    for topic, record in events(prepare(ReplayPlan(DAY, 3), cache=cache)):
        if topic is not Topic.INVENTORY:
            continue
        pair = (record["store_id"], record["product_id"])
        on_hand, sequence = book.get(pair, (0, record["sequence"] - 1))
        assert record["new_quantity"] == on_hand + record["quantity_change"] >= 0
        assert record["sequence"] == sequence + 1
        book[pair] = (record["new_quantity"], record["sequence"])


def test_shelves_run_empty_from_the_first_day_but_few_of_them(cache: Path) -> None:
    inputs = prepare(ReplayPlan(DAY, 7), cache=cache)
    empty: dict[tuple[str, str], int] = {}
    reasons: Counter[str] = Counter()
    for topic, record in events(inputs):
        if topic is Topic.INVENTORY:
            reasons[record["reason"]] += 1
            if record["new_quantity"] == 0 and record["reason"] == "sale":
                empty.setdefault((record["store_id"], record["product_id"]), record["timestamp"])
    first_day = sum(at < inputs.plan.start_ms + 86_400_000 for at in empty.values())

    assert 0.05 < len(empty) / len(inputs.items) < 0.15
    assert first_day > 100
    assert reasons["delivery"] > 1_000
    assert reasons["adjustment"] < 0.05 * reasons["sale"]


def test_a_longer_replay_opens_with_the_same_stock(cache: Path, one_day: ReplayInputs) -> None:
    longer = {
        (item.store_id, item.product_id): item
        for item in prepare(ReplayPlan(DAY, 2, stores=(406, 367)), cache=cache).items
    }
    shared = [item for item in one_day.items if (item.store_id, item.product_id) in longer]
    assert len(shared) > 100
    assert all(longer[item.store_id, item.product_id] == item for item in shared)


def test_vouchers_and_fuel_have_no_stock(cache: Path, one_day: ReplayInputs) -> None:
    department = products(cache=cache).set_index("product_id")["department"]
    tracked = {department[item.product_id] for item in one_day.items}
    sold = set(department[one_day.sales["product_id"]])
    assert {"FUEL", "SALAD BAR", "MISCELLANEOUS"} <= sold
    assert {"GROCERY", "PRODUCE", "DRUG GM"} <= tracked
    assert not tracked & {"FUEL", "COUPON", "MISCELLANEOUS", "SALAD BAR", ""}


def test_demand_is_the_mean_of_eight_weeks_shrunk_to_the_products(cache: Path) -> None:
    history = history_before(DAY, cache=cache)
    pairs = pd.DataFrame({"store_id": [406, 406], "product_id": [1082185, 999_999_999]})
    category = products(cache=cache).set_index("product_id")["category"]
    demand = demand_before(pairs, history, category)

    recorded = expected_windows(date(2017, 9, 25), 56)
    bananas = recorded[recorded["product_id"] == "1082185"]
    units = bananas.groupby("store_id")["units"].sum()
    units = units[units > 0]
    expected = (units["406"] + 14 * units.mean() / 56) / (56 + 14)
    assert demand["daily_units"][0] == pytest.approx(expected)
    assert demand["daily_units"][1] > 0
    assert demand["dispersion"][0] > 1
    assert demand["dispersion"][1] == 1


def test_a_start_without_a_past_borrows_the_first_weeks(cache: Path) -> None:
    history = history_before(date(2017, 1, 3), cache=cache)
    assert (history.days, history.precedes_start) == (56, False)
    inputs = prepare(ReplayPlan(date(2017, 1, 3), 1), cache=cache)
    assert inputs.demand["daily_units"].min() > 0
    assert inputs.last_prices == {}


def test_dimensions_have_one_row_for_every_key_replayed(cache: Path, one_day: ReplayInputs) -> None:
    tables = dimensions(one_day.demand, cache=cache)
    product, store, supplier = (
        tables[name] for name in ("dim_product", "dim_store", "dim_supplier")
    )
    for table, key in ((product, "product_id"), (store, "store_id"), (supplier, "supplier_id")):
        assert pc.count_distinct(table[key]).as_py() == table.num_rows
    sold = {str(each) for each in one_day.sales["product_id"]}
    assert sold <= set(product["product_id"].to_pylist())
    assert set(product["supplier_id"].to_pylist()) == set(supplier["supplier_id"].to_pylist())
    assert product["unit_cost"].null_count == product.num_rows
    assert pc.min_max(product["margin"]).as_py() == {"min": 0.0, "max": 0.5}
    prior = tables["demand_prior"]
    assert prior.num_rows == len(one_day.items)
    assert pc.min(prior["daily_units"]).as_py() > 0
    assert pc.min(prior["dispersion"]).as_py() >= 1
    assert set(supplier["lead_time_days"].to_pylist()) == {1.0, 2.0, 3.0}


def test_a_product_is_described_by_type_and_size(cache: Path, one_day: ReplayInputs) -> None:
    table = dimensions(one_day.demand, cache=cache)["dim_product"]
    (row,) = table.filter(pc.field("product_id") == "26190").to_pylist()
    assert row == {
        "product_id": "26190",
        "sku": "CJ-26190",
        "product_name": "Apple Sauce, 50 OZ",
        "department": "GROCERY",
        "category": "FRUIT - SHELF STABLE",
        "sub_category": "APPLE SAUCE",
        "brand": "Private",
        "supplier_id": "69",
        "unit_cost": None,
        "margin": 0.25,
        "shelf_life_days": None,
    }


@pytest.mark.parametrize(
    ("start", "days"),
    [(date(2016, 12, 31), 1), (date(2018, 1, 1), 2), (date(2019, 5, 1), 1), (DAY, 0)],
)
def test_a_range_outside_the_data_set_is_refused(cache: Path, start: date, days: int) -> None:
    with pytest.raises(ConfigError, match=r"2017-01-01 to 2018-01-01|at least 1"):
        sales_between(start, days, cache=cache)


def test_stores_are_chosen_by_number_or_by_trade(cache: Path) -> None:
    plan = ReplayPlan(DAY, 7)
    assert len(store_ids(cache=cache)) == 457
    assert choose_stores(None, plan, cache=cache) is None
    assert choose_stores("330,406", plan, cache=cache) == (330, 406)
    assert choose_stores("330,", plan, cache=cache) == (330,)
    assert choose_stores("3", plan, cache=cache) == (292, 367, 406)


@pytest.mark.parametrize("text", ["330,1", "0", "458", "all", "", "-1", "1,x"])
def test_unknown_stores_are_refused_with_what_is_allowed(cache: Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        choose_stores(text, ReplayPlan(DAY, 1), cache=cache)
    assert "457" in str(raised.value) or "20 takes the 20 busiest" in str(raised.value.hint)
