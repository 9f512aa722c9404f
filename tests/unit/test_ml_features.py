"""Features of a forecast: what is known on its morning, and nothing else."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from tillstream.ml.calendar import FAR_DAYS, holiday_distance, number_of, weekday
from tillstream.ml.features import HORIZON_DAYS, NAMES, History
from tillstream.ml.panel import Panel, grouped

DAYS = 120
ORIGIN = 100


def panel(items: int = 6, days: int = DAYS, *, seed: int = 3) -> Panel:
    draw = np.random.default_rng(seed)
    plan = np.zeros((items, days + HORIZON_DAYS), dtype=np.float32)
    return Panel(
        first_day=number_of(date(2026, 1, 5)),
        units=draw.poisson(0.8, (items, days)).astype(np.float32),
        in_stock=np.ones((items, days), dtype=np.float32),
        promotion=plan,
        price=plan + 1,
        store=np.arange(items) % 2,
        product=np.arange(items) // 2,
        category=np.arange(items) // 4,
    )


def column(values: np.ndarray, name: str) -> np.ndarray:
    return np.asarray(values[:, :, NAMES.index(name)])


def test_nothing_after_the_origin_is_seen() -> None:
    before = panel()
    after = replace(before, units=before.units.copy(), in_stock=before.in_stock.copy())
    after.units[:, ORIGIN:] = 50
    after.in_stock[:, ORIGIN:] = 0
    seen, same = History(before).before(ORIGIN), History(after).before(ORIGIN)
    assert np.array_equal(seen.values, same.values)
    assert np.array_equal(seen.anchor, same.anchor)
    moved = replace(before, units=before.units.copy())
    moved.units[0, ORIGIN - 1] += 5
    assert not np.array_equal(seen.values, History(moved).before(ORIGIN).values)


def test_plans_for_the_days_after_are_seen() -> None:
    planned = panel()
    planned.promotion[2, ORIGIN + 1] = 1
    planned.price[2, ORIGIN + 1] = 0.7
    values = History(planned).before(ORIGIN).values
    assert column(values, "promotion")[2].tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert column(values, "price")[2, 1] == pytest.approx(0.7)
    assert column(values, "promotion")[[0, 1, 3, 4, 5]].sum() == 0


def test_a_rate_is_of_the_days_in_stock() -> None:
    """Sold out half the time, an item that sold as many units was wanted twice as much."""
    always = panel(days=ORIGIN)
    half = replace(always, in_stock=always.in_stock.copy(), units=always.units.copy())
    half.in_stock[0, ::2] = 0
    half.units[0, ::2] = 0
    rate = np.exp(column(History(half).before(ORIGIN).values, "item_rate_90")[0, 0])
    sold = half.units[0, 10:].sum()
    assert sold / 45 * 0.7 < rate < sold / 45 * 1.1
    assert rate > 1.3 * sold / 90


def test_a_new_item_is_expected_to_sell_as_its_kind_does() -> None:
    chain = panel(days=ORIGIN)
    chain.units[:4] = 0.0
    chain.units[4:, :] = 3.0
    chain.in_stock[5, :] = 0
    chain.units[5, :] = 0
    anchor = History(chain).before(ORIGIN).anchor
    assert anchor[5].mean() > 10 * anchor[0].mean()
    assert 1.0 < anchor[5].mean() <= 3.5


def test_weekdays_show() -> None:
    weekly = panel(days=ORIGIN)
    friday = weekday(weekly.first_day + np.arange(ORIGIN)) == 4
    weekly.units[:] = np.where(friday, 4.0, 1.0)
    rows = History(weekly).before(ORIGIN)
    index = column(rows.values, "weekday_index")[0]
    which = weekday(weekly.first_day + ORIGIN + np.arange(HORIZON_DAYS))
    assert index[which == 4][0] > 2 * index[which != 4].max()


def test_holidays_are_near_or_far() -> None:
    around = number_of(date(2026, 7, 4)) + np.arange(-3, 4)
    ahead, behind = holiday_distance(around, "US")
    assert ahead.tolist() == [3, 2, 1, 0, FAR_DAYS, FAR_DAYS, FAR_DAYS]
    assert behind.tolist()[3:] == [0, 1, 2, 3]


def test_a_day_that_only_offices_keep_is_none() -> None:
    columbus = np.array([number_of(date(2026, 10, 12))])
    assert holiday_distance(columbus, "US")[0].tolist() == [FAR_DAYS]


def test_a_day_shut_for_a_holiday_says_nothing_of_its_weekday() -> None:
    """Thanksgiving, Christmas and New Year's Day of 2025 all are Thursdays."""
    shut = replace(panel(days=ORIGIN), first_day=number_of(date(2025, 10, 6)))
    shut.units[:] = 2.0
    for day in (date(2025, 11, 27), date(2025, 12, 25), date(2026, 1, 1)):
        shut.units[:, number_of(day) - shut.first_day] = 0
    index = column(History(shut).before(ORIGIN).values, "weekday_index")
    assert index == pytest.approx(np.ones_like(index), abs=0.01)


def test_sums_of_shelves_are_a_panel_too() -> None:
    single = panel()
    stores = grouped(single, single.store)
    assert stores.items == 2
    assert np.array_equal(stores.units[1], single.units[1::2].sum(axis=0))
    assert History(stores).before(ORIGIN).values.shape == (2, HORIZON_DAYS, len(NAMES))


def test_parts_are_the_whole_in_pieces() -> None:
    history = History(panel())
    whole = history.before(ORIGIN)
    parts = list(history.parts(ORIGIN, size=4))
    assert len(parts) > 1
    for name in ("values", "anchor", "size"):
        assert np.array_equal(
            np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name)
        )
    one = history.before(ORIGIN, days=1)
    assert np.array_equal(one.values, whole.values[:, :1])
