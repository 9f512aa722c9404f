"""The oracle's arithmetic against simulation and closed forms."""

import numpy as np
import pytest
from scipy import stats

from tillstream.evaluation.exact import Events, Lines, runs_empty

ONE_BY_ONE = Lines(np.array([1.0]), 1e9)
CLUMPED = Lines(np.array([0.7, 0.2, 0.1]), 1e9)


def events(
    lead: list[float], weight: list[float], receipts: tuple[tuple[float, int], ...] = ()
) -> Events:
    return Events.of(
        np.array([lead]),
        np.array([weight]),
        item=np.zeros(len(receipts), dtype=np.int64),
        at_units=np.array([at for at, _ in receipts]),
        units=np.array([units for _, units in receipts], dtype=np.int64),
    )


def risk(
    lines: Lines, when: Events, stock: int, *, daily: float = 1.0, errors: tuple[int, ...] = (0,)
) -> float:
    physical = np.array([[stock + error for error in errors]])
    chance = np.full(physical.shape, 1 / len(errors))
    return float(
        runs_empty(lines, when, daily_units=np.array([daily]), stock=physical, chance=chance)[0]
    )


@pytest.mark.parametrize("stock", [1, 4, 9, 30, 400])
def test_single_units_without_receipts_are_poisson(stock: int) -> None:
    found = risk(ONE_BY_ONE, events([5.0], [1.0]), stock)
    assert found == pytest.approx(stats.poisson.sf(stock - 1, 5.0), abs=1e-6)


def test_a_random_lead_time_is_averaged() -> None:
    found = risk(ONE_BY_ONE, events([2.0, 6.0], [0.75, 0.25]), 4)
    expected = 0.75 * stats.poisson.sf(3, 2.0) + 0.25 * stats.poisson.sf(3, 6.0)
    assert found == pytest.approx(expected, abs=1e-6)


def test_goods_that_come_late_save_only_what_is_left() -> None:
    """On hand 2 with 20 arriving at 0.9 of the horizon: lumped together nothing would happen."""
    found = risk(ONE_BY_ONE, events([5.0], [1.0], ((4.5, 20),)), 2)
    assert found == pytest.approx(stats.poisson.sf(1, 4.5), abs=1e-3)
    assert found > 0.9


def test_a_shelf_with_nothing_on_it_is_left_out() -> None:
    when = events([3.0], [1.0])
    assert risk(ONE_BY_ONE, when, 2, errors=(-5, 1)) == pytest.approx(
        stats.poisson.sf(2, 3.0), abs=1e-6
    )
    assert risk(ONE_BY_ONE, when, 0) == 1.0


def test_it_is_what_simulation_finds() -> None:
    """Lines of 1 to 3 units, two receipts, an order that comes early or late, three errors."""
    draw = np.random.default_rng(4)
    draws, times, comes = 40_000, np.array([2.0, 3.0, 6.0, 9.0]), np.array([4, 0, 5, 0])
    ends = np.where(draw.random(draws) < 0.6, 1, 3)
    left = 5 + draw.choice([-2, 0, 3], draws)
    out = np.zeros(draws, dtype=bool)
    for at, span in enumerate(np.diff(times, prepend=0.0)):
        lines = draw.poisson(span / CLUMPED.mean, draws)
        units = np.array([draw.multinomial(count, CLUMPED.chance) for count in lines])
        left = left - units @ np.array([1, 2, 3])
        out |= (left <= 0) & (at <= ends)
        left = left + comes[at]
    when = events([3.0, 9.0], [0.6, 0.4], ((2.0, 4), (6.0, 5)))
    assert risk(CLUMPED, when, 5, errors=(-2, 0, 3)) == pytest.approx(out.mean(), abs=0.01)


def test_days_that_share_a_factor_vary_more() -> None:
    """A whole day is a gamma mixture of Poissons: negative binomial for single units."""
    shared = Lines(np.array([1.0]), 4.0)
    found = risk(shared, events([10.0], [1.0]), 18, daily=10.0)
    assert found == pytest.approx(stats.nbinom.sf(17, 4, 4 / 14), abs=1e-4)
    assert found > 4 * risk(ONE_BY_ONE, events([10.0], [1.0]), 18)
