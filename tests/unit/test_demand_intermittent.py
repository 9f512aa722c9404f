"""Classes and rates of intermittent demand, by hand and against simulation."""

import numpy as np
import pytest

from tillstream.demand.belief import Floats
from tillstream.demand.intermittent import PATTERNS, Series, pattern, tallied, tsb


def series(rows: list[list[float]]) -> Series:
    item = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return tallied(item, np.concatenate([np.array(row) for row in rows]), items=len(rows))


def start(*, days: float, demand_days: float, units: float, squares: float) -> Series:
    return Series(*(np.array([x]) for x in (days, demand_days, units, squares)))


def test_interval_and_variation_by_hand() -> None:
    found = series([[0, 2, 0, 0, 4, 0], [0, 0], [5]])
    assert found.interval_days.tolist() == [3.0, np.inf, 1.0]
    assert found.size.tolist() == [3.0, 0.0, 5.0]
    assert found.size_variance.tolist() == [2.0, 0.0, 0.0]
    assert found.cv2.tolist() == [pytest.approx(2 / 9), 0.0, 0.0]


def test_the_four_classes() -> None:
    found = series([[3, 4, 3, 4], [1, 9, 1, 1], [0, 2, 0, 2], [0, 9, 0, 1, 0, 1], [0, 0]])
    names = [PATTERNS[at] for at in pattern(found)]
    assert names == ["smooth", "erratic", "intermittent", "lumpy", "intermittent"]


def test_tsb_by_hand() -> None:
    before = start(days=10, demand_days=5, units=20, squares=100)  # p 0.5, size 4, E[size²] 20
    demand = np.array([[0.0, 8.0, np.nan, 0.0]])
    found = tsb(demand, start=before, probability_weight=0.1, size_weight=0.5)
    p = (0.5 * 0.9 + 0.1 * (1 - 0.45)) * 0.9
    assert found.mean[0] == pytest.approx(p * 6.0)
    assert found.variance[0] == pytest.approx(p * 42.0 - (p * 6.0) ** 2)


def test_tsb_forgets_an_item_that_died() -> None:
    before = start(days=10, demand_days=5, units=20, squares=100)
    silence = np.zeros((1, 100))
    assert tsb(silence, start=before).mean[0] == pytest.approx(2.0 * 0.95**100)


def test_first_demand_is_taken_whole() -> None:
    nothing = start(days=0, demand_days=0, units=0, squares=0)
    demand = np.array([[0.0, 0.0, 0.0, 6.0]])
    assert tsb(demand, start=nothing, probability_weight=0.1).mean[0] == pytest.approx(0.6)


def drawn(items: int, days: int) -> Floats:
    rng = np.random.default_rng(8)
    size = 1.0 + rng.poisson(3.0, (items, days))
    return np.where(rng.random((items, days)) < 0.25, size, 0.0)


def test_the_rate_and_its_variance_agree_with_simulation() -> None:
    """Demand on a quarter of the days, of mean 4 and variance 3: 1 a day."""
    demand = drawn(4_000, 400)
    before = start(days=400, demand_days=100, units=400, squares=1900)
    many = Series(*(np.full(4_000, getattr(before, name)[0]) for name in Series.__slots__))
    smoothed = tsb(demand, start=many)
    assert smoothed.mean.mean() == pytest.approx(1.0, rel=0.02)
    assert smoothed.variance.mean() == pytest.approx(demand.var(), rel=0.05)
