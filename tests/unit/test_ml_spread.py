"""Negative binomials around a forecast."""

import numpy as np
import pytest
from scipy.stats import nbinom

from tillstream.ml import spread
from tillstream.ml.spread import QUANTILES, Spread


def test_quantiles_are_those_of_the_negative_binomial() -> None:
    mean = np.array([0.001, 0.05, 0.5, 3.0, 29.0, 31.0, 400.0])
    variance = mean * (1.4 + 0.3 * mean)
    p = mean / variance
    wanted = nbinom.ppf(np.array(QUANTILES), (mean * p / (1 - p))[:, None], p[:, None])
    assert np.array_equal(spread.quantiles(mean, variance), wanted)


def test_without_demand_nothing_is_expected() -> None:
    nothing = np.zeros(2)
    found = spread.quantiles(nothing, Spread(0.1, 0.1, 0.1).variance(nothing, np.ones(2)) + 1e-9)
    assert found.max() == 0


def test_the_fitted_spread_is_the_one_that_made_the_sales() -> None:
    draw = np.random.default_rng(1)
    mean, size = draw.uniform(0.1, 6.0, 60_000), draw.uniform(1.0, 4.0, 60_000)
    true = Spread(base=0.3, clump=0.8, doubt=0.25)
    p = mean / true.variance(mean, size)
    units = draw.negative_binomial(mean * p / (1 - p), p).astype(float)
    found = spread.fitted(units, mean, size)
    ratio = found.variance(mean, size) / true.variance(mean, size)
    assert ratio.mean() == pytest.approx(1.0, abs=0.03)
    assert found.doubt == pytest.approx(0.25, abs=0.08)
    assert found.clump == pytest.approx(0.8, abs=0.12)


def test_sums_of_chances() -> None:
    mean, variance = np.array([2.0, 2.0, 2.0]), np.array([3.0, 3.0, 3.0])
    found = spread.cumulated(np.array([-1.0, 0.0, 100.0]), mean, variance)
    assert found[0] == 0
    assert found[1] == pytest.approx((2 / 3) ** 4)
    assert found[2] == pytest.approx(1.0)
