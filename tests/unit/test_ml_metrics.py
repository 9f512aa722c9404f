"""Scores of forecasts against cases that can be reckoned by hand."""

import numpy as np
import pytest

from tillstream.ml import metrics
from tillstream.ml.metrics import Case

SHAPE = (3, 2, 7)


def case(units: np.ndarray) -> Case:
    past = np.tile([[0.0, 2.0] * 14, [1.0, 3.0] * 14, [0.0, 4.0] * 14], (1, 2))
    return Case.of(units, past, past)


def scored(units: float, mean: float, variance: float) -> dict[str, float]:
    found = metrics.sums(
        case(np.full(SHAPE, units)), np.full(SHAPE, mean), np.full(SHAPE, variance)
    )
    return dict(zip(metrics.NAMES, found.scores().tolist(), strict=True))


def test_errors_as_reckoned_by_hand() -> None:
    found = scored(2.0, 3.0, 3.3)
    assert found["wape"] == pytest.approx(0.5)
    assert found["bias"] == pytest.approx(0.5)
    # Steps of 2, 2 and 4 units; shares of recent revenue 1/5, 2/5 and 2/5.
    assert found["wrmsse"] == pytest.approx(0.2 / 2 + 0.4 / 2 + 0.4 / 4)
    assert found["wape_of_medians"] in (0.0, 0.5)


def test_a_right_forecast_without_doubt_costs_nothing() -> None:
    found = scored(5.0, 5.0, 5.0 * (1 + 1e-4))
    assert found["wape"] == 0
    assert found["wrmsse"] == 0
    assert found["bias"] == 0


def test_the_true_distribution_is_covered_as_often_as_it_says() -> None:
    """Also that of shelves that nearly never sell, which plain intervals cover far too often."""
    draw = np.random.default_rng(0)
    mean, shape = np.full((400, 8, 7), 0.15), (400, 8, 7)
    variance = mean * 1.5
    p = 1 / 1.5
    units = draw.negative_binomial(0.15 * p / (1 - p), p, shape).astype(float)
    past = np.tile([0.0, 1.0], (400, 20))
    sums = metrics.sums(Case.of(units, past, past), mean, variance)
    found = dict(zip(metrics.NAMES, sums.scores().tolist(), strict=True))
    for level in metrics.COVERAGES:
        name = f"{round(100 * level)}"
        assert found[f"coverage_{name}"] == pytest.approx(level, abs=0.01)
    assert found["inside_50"] > 0.85
    narrow = metrics.sums(Case.of(units * 3, past, past), mean, variance)
    assert dict(zip(metrics.NAMES, narrow.scores(), strict=True))["coverage_95"] < 0.93


def test_intervals_hold_the_score_and_differences_are_paired() -> None:
    draw = np.random.default_rng(5)
    units = draw.poisson(2.0, (60, 4, 7)).astype(float)
    past = draw.poisson(2.0, (60, 56)).astype(float)
    judged = Case.of(units, past, past)
    good = metrics.sums(judged, np.full(units.shape, 2.0), np.full(units.shape, 2.01))
    bad = metrics.sums(judged, np.full(units.shape, 3.0), np.full(units.shape, 3.01))
    cluster = np.arange(60) // 3
    wrmsse = metrics.estimates(good, cluster)["wrmsse"]
    assert wrmsse.low < wrmsse.value < wrmsse.high
    less = metrics.differences(good, bad, cluster)["wrmsse"]
    assert less.value < 0
    assert less.high < 0
    assert less.high - less.low < wrmsse.high - wrmsse.low
