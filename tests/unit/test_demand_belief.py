"""Beliefs, phantom stock and dispersion: by hand and against simulation."""

import numpy as np
import pytest
from scipy import stats

from tillstream.demand.belief import Belief, Floats, discounted, updated
from tillstream.demand.dispersion import Days, dispersion_of
from tillstream.demand.phantom import phantom_probability


def belief(a: float, b: float, dispersion: float = 1.0) -> Belief:
    return Belief(np.array([a]), np.array([b]), np.array([dispersion]))


def test_evidence_is_divided_by_its_clumps() -> None:
    prior = Belief(np.full(3, 14.0), np.full(3, 7.0), np.array([1.0, 3.0, 0.5]))
    known = updated(prior, units=np.array([30.0, 30.0, -5.0]), exposure=np.full(3, 10.0))
    assert known.a.tolist() == [44.0, 24.0, 14.0]
    assert known.b.tolist() == [17.0, pytest.approx(7 + 10 / 3), 17.0]
    assert known.dispersion.tolist() == [1.0, 3.0, 1.0]


def test_old_evidence_keeps_its_mean_and_loses_its_weight() -> None:
    old = discounted(belief(6.0, 12.0, 2.0), days=30.0, half_life_days=60.0)
    assert old.daily_units[0] == pytest.approx(0.5)
    assert old.b[0] == pytest.approx(12.0 / np.sqrt(2.0))
    assert old.dispersion[0] == 2.0


def test_silence_raises_the_suspicion_as_the_gamma_says() -> None:
    found = phantom_probability(belief(2.0, 10.0), exposure=np.array([20.0]), prior=0.1)
    assert found[0] == pytest.approx(0.1 / (0.1 + 0.9 / 9))
    known_rate = phantom_probability(belief(2e9, 1e10), exposure=np.array([20.0]), prior=0.1)
    assert known_rate[0] == pytest.approx(0.1 / (0.1 + 0.9 * np.exp(-4.0)))
    assert phantom_probability(belief(2.0, 10.0), exposure=np.zeros(1), prior=0.1)[0] == 0.1


def test_silence_of_an_item_that_sells_in_clumps_says_less() -> None:
    dispersion, days = 3.0, 20.0
    mean = np.random.default_rng(3).gamma(2.0, 1 / 10.0, 200_000) * days
    silent = np.mean(stats.nbinom.pmf(0, mean / (dispersion - 1), 1 / dispersion))
    found = phantom_probability(belief(2.0, 10.0, 3.0), exposure=np.array([days]), prior=0.1)
    assert found[0] == pytest.approx(0.1 / (0.1 + 0.9 * silent), abs=0.002)


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_certainty_stays(prior: float) -> None:
    assert phantom_probability(belief(9.0, 1.0), exposure=np.array([1e9]), prior=prior)[0] == prior


def sold(rate: Floats, spread: Floats, days: int, seed: int = 4) -> Days:
    """Negative binomial days, half of them of exposure 0.5."""
    rng = np.random.default_rng(seed)
    exposure = np.where(np.arange(days) % 2, 1.0, 0.5)
    mean = rate[:, None] * exposure
    excess = np.maximum(spread - 1.0, 1e-9)[:, None]
    units = rng.poisson(rng.gamma(mean / excess, excess))
    n = len(rate)
    return Days(
        days=np.full(n, float(days)),
        units=units.sum(1).astype(float),
        exposure=np.full(n, exposure.sum()),
        squares=(units**2 / exposure).sum(1),
    )


@pytest.mark.parametrize("true", [1.0, 1.5, 4.0])
def test_pooled_dispersion_is_found_from_short_series_of_unlike_means(true: float) -> None:
    rate = np.exp(np.random.default_rng(1).uniform(-2, 2, 4_000))
    days = sold(rate, np.full(4_000, true), days=6)
    _, pooled = dispersion_of(days, np.zeros(4_000, dtype=np.int64), groups=1)
    assert pooled[0] == pytest.approx(true, rel=0.04)


def test_items_that_differ_keep_their_own_dispersion_and_like_ones_share() -> None:
    n = 2_000
    group = np.repeat([0, 1], n)
    spread = np.concatenate([np.full(n, 2.0), np.where(np.arange(n) % 2, 1.2, 6.0)])
    found, pooled = dispersion_of(sold(np.full(2 * n, 3.0), spread, days=200), group, groups=3)
    assert pooled == pytest.approx([2.0, 3.6, 1.0], rel=0.05)
    like, unlike = found[:n], found[n:]
    assert np.std(like) < 0.15  # of 0.25 by themselves
    assert unlike[1::2].mean() == pytest.approx(1.2, abs=0.15)
    assert unlike[::2].mean() == pytest.approx(6.0, abs=0.4)


def test_items_without_sales_take_their_group_and_nothing_is_below_one() -> None:
    days = Days(
        days=np.array([30.0, 30.0, 1.0, 0.0]),
        units=np.array([30.0, 0.0, 4.0, 0.0]),
        exposure=np.array([30.0, 30.0, 1.0, 0.0]),
        squares=np.array([30.0, 0.0, 16.0, 0.0]),  # one a day, every day
    )
    found, pooled = dispersion_of(days, np.zeros(4, dtype=np.int64), groups=1)
    assert found.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert pooled.tolist() == [1.0]
