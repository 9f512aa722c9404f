"""What is learned from sales and counts, and when goods come."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tillstream.demand.belief import Belief
from tillstream.demand.expiry import Goods, spoilt_risk
from tillstream.demand.shrinkage import Items, expected
from tillstream.learning import stockerror
from tillstream.learning.evidence import Evidence, Names
from tillstream.learning.exposure import DAY_MS, HOUR_MS, Exposure, local_weekday, utc_offset_ms
from tillstream.learning.learn import _rhythm
from tillstream.learning.supply import arrival_ms

FLAT = np.full((7, 24), 1 / 24)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


MONDAY = ms("2026-03-09")


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_a_day_counts_as_one_and_an_hour_as_its_share() -> None:
    weights = FLAT.copy()
    weights[0] = 0
    weights[0, 9] = 1.0  # on Mondays everything sells between nine and ten
    exposure = Exposure.of(weights, MONDAY, MONDAY + 7 * DAY_MS, zones=["UTC"])
    start, end = MONDAY + 9 * HOUR_MS + HOUR_MS // 4, MONDAY + DAY_MS
    assert exposure.between(ints(0, 0), ints(MONDAY, start), ints(end, end)) == pytest.approx(
        [1.0, 0.75]
    )


def test_hours_are_those_of_the_store() -> None:
    weights = np.zeros((7, 24))
    weights[0, 9] = 7.0
    exposure = Exposure.of(
        weights, MONDAY, MONDAY + 2 * DAY_MS, zones=["America/Chicago", "Asia/Tokyo"]
    )
    # Nine in Chicago (in summer time since the day before) is fourteen UTC; in Tokyo it is past.
    morning = ints(MONDAY + 13 * HOUR_MS, MONDAY + 13 * HOUR_MS)
    assert exposure.between(ints(0, 1), morning, morning + 3 * HOUR_MS) == pytest.approx([7.0, 0.0])


def test_what_lies_outside_the_span_counts_nothing() -> None:
    exposure = Exposure.of(FLAT, MONDAY, MONDAY + DAY_MS, zones=["UTC"])
    before, after = MONDAY - 5 * DAY_MS, MONDAY + 5 * DAY_MS
    assert exposure.between(ints(0), ints(before), ints(after)) == pytest.approx([1.0])
    assert exposure.between(ints(0), ints(after), ints(before)) == pytest.approx([0.0])


def test_older_days_count_for_half_after_a_half_life() -> None:
    exposure = Exposure.of(FLAT, MONDAY, MONDAY + 28 * DAY_MS, zones=["UTC"], half_life_days=14.0)
    first = exposure.between(ints(0), ints(MONDAY), ints(MONDAY + DAY_MS))
    later = exposure.between(ints(0), ints(MONDAY + 14 * DAY_MS), ints(MONDAY + 15 * DAY_MS))
    assert first / later == pytest.approx(0.5)


def test_summer_time_and_weekdays_are_known() -> None:
    days = ints(ms("2026-03-07"), ms("2026-03-09"))
    assert (utc_offset_ms("America/Chicago", days) // HOUR_MS).tolist() == [-6, -5]
    assert local_weekday(days).tolist() == [5, 0]


def test_an_order_comes_with_the_truck_of_the_local_day() -> None:
    chicago = ints(-5 * HOUR_MS)
    # It is still Monday evening there when Tuesday begins in UTC; trucks come at 5:30.
    found = arrival_ms(
        MONDAY + DAY_MS, np.array([2.0]), offset_ms=chicago, truck_ms=ints(10 * HOUR_MS + 1_800_000)
    )
    assert found.tolist() == [ms("2026-03-11T10:30")]


def test_books_are_taken_for_right_until_somebody_counts() -> None:
    law = stockerror.learned(ints(5, 5), ints(4, 5))
    units, weight = law.of(ints(0, 5, 500))
    assert units.tolist() == [[0], [0], [0]]
    assert weight.tolist() == [[1], [1], [1]]


def test_a_zone_nobody_has_heard_of_counts_as_utc() -> None:
    noon = np.array([1_773_144_000_000])
    assert utc_offset_ms("America/Nowhere", noon) == utc_offset_ms("", noon) == 0
    assert utc_offset_ms("America/Chicago", noon) == -5 * 3_600_000


def test_errors_are_those_found_on_shelves_of_that_size() -> None:
    recorded = np.repeat(ints(2, 20), 1000)
    found = recorded.copy()
    found[:300] -= 1  # three in ten of the small ones
    found[1000:1100] = 5  # one in ten of the large ones has lost three quarters
    units, weight = stockerror.learned(recorded, found).of(ints(2, 20, 40))
    assert weight.sum(axis=1) == pytest.approx([1, 1, 1])
    assert (units * weight).sum(axis=1)[0] == pytest.approx(
        -0.40
    )  # parts of the law are taken whole
    assert units[1].min() == -15
    assert units[2].min() == -30
    assert units[:, -1].tolist() == [0, 0, 0]


def test_shelves_found_empty_are_no_part_of_the_law() -> None:
    recorded = np.full(200, 4)
    found = np.where(np.arange(200) < 100, 0, 4)
    units, _ = stockerror.learned(recorded, found).of(ints(4))
    assert set(units.ravel().tolist()) == {0.0}


def shelves(units: list[float], exposure: float = 50.0) -> Items:
    """Two stores of two products of one category; the second store sells twice as much."""
    n = len(units)
    return Items(
        store=ints(0, 0, 1, 1)[:n],
        product=ints(0, 1, 0, 1)[:n],
        category=np.zeros(n, dtype=np.int64),
        units=np.array(units),
        exposure=np.full(n, exposure),
        dispersion=np.ones(n),
    )


def test_an_item_is_expected_to_sell_as_its_store_and_product_do() -> None:
    found = expected(shelves([300, 100, 600, 200]))
    assert found.rate == pytest.approx([6, 2, 12, 4], rel=0.02)
    assert found.shape > 100  # no item strays from that at all


def test_a_product_new_to_a_store_starts_where_it_stands_elsewhere() -> None:
    items = shelves([300, 100, 600, 0])
    items.exposure[3] = 0.0
    assert expected(items).rate[3] == pytest.approx(4, rel=0.05)


def test_items_that_stray_are_held_less_tightly() -> None:
    rng = np.random.default_rng(1)
    n = 400
    level = rng.gamma(2.0, 0.5, n)
    items = Items(
        store=np.repeat(np.arange(20), 20),
        product=np.tile(np.arange(20), 20),
        category=np.zeros(n, dtype=np.int64),
        units=rng.poisson(level * 5 * 40).astype(float),
        exposure=np.full(n, 40.0),
        dispersion=np.ones(n),
    )
    assert 1.5 < expected(items).shape < 3.0


def test_a_few_sales_do_not_show_that_items_never_stray() -> None:
    assert expected(shelves([1, 1, 1, 1])).shape == pytest.approx(2, rel=0.05)


def test_a_moment_of_sales_does_not_make_a_best_seller() -> None:
    """A shelf that was first seen just now has sold one unit in no time at all."""
    items = shelves([300, 100, 600, 1])
    items.exposure[3] = 0.001
    assert expected(items).rate[3] == pytest.approx(4, rel=0.1)


def test_without_sales_nothing_is_expected() -> None:
    assert expected(shelves([0, 0, 0, 0])).rate == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert len(expected(shelves([])).rate) == 0


def evidence(hours: list[tuple[int, int]], as_of_ms: int) -> Evidence:
    """Lines sold in UTC hours (start, lines), in stores whose clocks show UTC, and nothing else."""
    none = pa.table({})
    at_ms, lines = zip(*hours, strict=True) if hours else ((), ())
    sold = pa.table(
        {
            "time_zone": pa.array(["UTC"] * len(hours), pa.string()),
            "hour_ms": pa.array(at_ms, pa.int64()),
            "lines": pa.array(lines, pa.int64()),
        }
    )
    return Evidence(as_of_ms, 0, none, none, none, none, sold, none)


def rhythm(hours: list[tuple[int, int]], as_of_ms: int) -> np.ndarray:
    return _rhythm(evidence(hours, as_of_ms), Names(["UTC"], ints())).weights


def test_a_weekday_counts_by_how_often_it_has_passed() -> None:
    """Ten days with the same sales at noon: three weekdays came twice."""
    days = [
        (MONDAY + day * DAY_MS + hour * HOUR_MS, 1000 * (hour == 12) + 1)
        for day in range(10)
        for hour in range(24)
    ]
    weights = rhythm(days, MONDAY + 10 * DAY_MS)
    assert weights.sum(axis=1) == pytest.approx(np.ones(7), rel=0.01)
    assert weights[:, 12] == pytest.approx(np.full(7, 0.978), rel=0.01)


def test_a_weekday_that_has_not_passed_is_an_average_one() -> None:
    days = [(MONDAY + hour * HOUR_MS, 1000 if hour == 12 else 100) for hour in range(24)]
    weights = rhythm(days, MONDAY + DAY_MS)
    assert weights.sum(axis=1) == pytest.approx(np.ones(7), rel=0.01)
    assert rhythm([], MONDAY) == pytest.approx(FLAT)


def flat_days(_rows: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return np.asarray((end - start) / DAY_MS)


def spoilt(life: int, came_days_ago: int, *, next_days: float | None = None) -> float:
    """Of a shelf that sells one unit a day: ten units came, and an order arrives in three days."""
    none = Goods(ints(), ints(), np.empty(0))
    coming = (
        none
        if next_days is None
        else Goods(ints(0), ints(MONDAY + int(next_days * DAY_MS)), np.array([50.0]))
    )
    found = spoilt_risk(
        Belief(np.array([1000.0]), np.array([1000.0]), np.ones(1)),
        as_of_ms=MONDAY,
        life_days=ints(life),
        offset_ms=ints(0),
        arrives_ms=ints(MONDAY + 3 * DAY_MS),
        came=Goods(ints(0), ints(MONDAY - came_days_ago * DAY_MS), np.array([10.0])),
        coming=coming,
        demand_days=flat_days,
    )
    return float(found[0])


def test_a_shelf_is_empty_once_its_newest_goods_expire() -> None:
    assert spoilt(life=5, came_days_ago=3) == 1.0  # at the midnight that begins day two
    assert spoilt(life=7, came_days_ago=3) < 1e-3
    assert spoilt(life=0, came_days_ago=3) == 0.0


def test_goods_that_come_before_the_others_expire_keep_the_shelf_filled() -> None:
    assert spoilt(life=5, came_days_ago=3, next_days=1.5) < 1e-3
    assert spoilt(life=5, came_days_ago=3, next_days=2.5) == 1.0
