"""Scores of predictions, against cases worked out by hand and scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tillstream.evaluation import metrics
from tillstream.evaluation.forecast.source import some_stores

RISK = np.array([0.9, 0.8, 0.4, 0.1])
RAN_OUT = np.array([True, False, True, False])


def test_brier_and_skill_by_hand() -> None:
    # (0.01 + 0.64 + 0.36 + 0.01) / 4; the base rate's score is 0.25.
    assert metrics.brier(RISK, RAN_OUT) == pytest.approx(0.255)
    assert metrics.brier_skill(RISK, RAN_OUT) == pytest.approx(1 - 0.255 / 0.25)
    assert metrics.brier_skill(np.full(4, 0.5), RAN_OUT) == pytest.approx(0.0)
    assert metrics.brier_skill(RAN_OUT.astype(float), RAN_OUT) == 1.0


def test_where_nothing_runs_out_there_is_no_skill() -> None:
    assert metrics.brier_skill(RISK, np.zeros(4, dtype=bool)) == 0.0


def test_a_weight_counts_a_row_so_many_times() -> None:
    weight = np.array([2.0, 0.0, 1.0, 3.0])
    times = weight.astype(int)
    risk, ran_out = np.repeat(RISK, times), np.repeat(RAN_OUT, times)
    for score in (metrics.brier, metrics.brier_skill, metrics.average_precision):
        assert score(RISK, RAN_OUT, weight) == pytest.approx(score(risk, ran_out))


def test_average_precision_by_hand() -> None:
    # Hits at ranks 1 and 3: (1/1 + 2/3) / 2.
    assert metrics.average_precision(RISK, RAN_OUT) == pytest.approx((1 + 2 / 3) / 2)


def test_equal_ranks_are_warned_of_together() -> None:
    # One threshold: precision is the base rate, whatever the order of the rows.
    assert metrics.average_precision(np.full(4, 0.3), RAN_OUT) == pytest.approx(0.5)
    # Two of three above the second threshold ran out of two in all.
    tied = np.array([0.9, 0.4, 0.4, 0.1])
    assert metrics.average_precision(tied, RAN_OUT) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_bins_hold_equally_many_rows_and_equal_risks_share_one() -> None:
    risk = np.arange(1, 101) / 100
    bins = metrics.quantile_bins(risk)
    assert np.bincount(bins).tolist() == [5] * 20
    half = np.where(np.arange(100) < 50, 0.0, risk)
    assert len(set(metrics.quantile_bins(half)[:50].tolist())) == 1


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    risk = np.array([0.1, 0.1, 0.1, 0.1, 0.6, 0.6])
    ran_out = np.array([True, False, False, False, True, True])
    bins = np.array([0, 0, 0, 0, 1, 1])
    # |0.1 - 0.25| of four rows, |0.6 - 1| of two.
    expected = (4 * 0.15 + 2 * 0.4) / 6
    assert metrics.calibration_error(risk, ran_out, bins) == pytest.approx(expected)


def test_the_budget_goes_to_the_highest_ranks_of_each_store_and_day() -> None:
    rank = np.array([0.1, 0.9, 0.5, 0.2, 0.3, 0.8])
    group = np.array([0, 0, 0, 1, 1, 2])
    chosen = metrics.warned(rank, group, 2)
    assert chosen.tolist() == [False, True, True, True, True, True]


def test_equal_ranks_are_chosen_by_lot_not_by_place() -> None:
    chosen = metrics.warned(np.zeros(1000), np.zeros(1000, dtype=np.int64), 100)
    assert chosen.sum() == 100
    assert 20 < chosen[:500].sum() < 80


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (50, 1000), (10, 10)])
def test_wilson_interval_is_scipys(hits: int, count: int) -> None:
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert metrics.wilson(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_bootstrap_resamples_clusters_not_rows() -> None:
    """Rows of a store are alike: 1,000 rows of ten stores tell no more than ten numbers."""
    store = np.repeat(np.arange(10), 100)
    value = (store % 2).astype(float)
    rate = metrics.rates(value, np.ones(1000), store)
    found = metrics.bootstrapped(rate, 10, draws=2000, seed=1)
    assert found.value == 0.5
    # Of ten draws at 1/2: standard error 0.158, where rows would give 0.016.
    assert found.low == pytest.approx(0.5 - 1.96 * 0.158, abs=0.06)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.158, abs=0.06)


def test_a_band_holds_when_what_was_said_happened() -> None:
    draw = np.random.default_rng(3)
    risk = draw.uniform(0, 1, 40_000)
    store, day = np.arange(40_000) % 40, np.arange(40_000) // 40 % 10
    right = metrics.bands(risk, draw.random(40_000) < risk, store, day, draws=300, seed=0)
    wrong = metrics.bands(risk, draw.random(40_000) < risk / 2, store, day, draws=300, seed=0)
    assert [band.low for band in right] == [0.0, 0.01, 0.05, 0.2, 0.5]
    assert sum(band.count for band in right) == 40_000
    assert all(band.holds for band in right)
    assert not wrong[3].holds
    assert not wrong[4].holds
    assert right[4].predicted == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("shared", ["store", "day"])
def test_what_a_store_or_a_day_shares_widens_the_interval(shared: str) -> None:
    """Ten clusters at 1/2 have a standard error of 0.158, however many rows they are of."""
    risk, cluster = np.full(4_000, 0.4), np.arange(4_000) % 10
    other = np.arange(4_000) // 10 % 10
    store, day = (cluster, other) if shared == "store" else (other, cluster)
    band = metrics.bands(risk, cluster % 2 == 0, store, day, draws=2000, seed=1)[3]
    assert band.observed.value == 0.5
    assert band.observed.low == pytest.approx(0.5 - 1.96 * 0.158, abs=0.06)
    assert band.observed.high == pytest.approx(0.5 + 1.96 * 0.158, abs=0.06)
    assert band.holds


def test_a_band_of_no_rows_says_nothing_and_holds() -> None:
    one = np.array([0])
    found = metrics.bands(np.array([0.6]), np.array([True]), one, one, draws=10, seed=0)
    assert [band.count for band in found] == [0, 0, 0, 0, 1]
    assert found[0].holds


def test_weighted_quantile_by_hand() -> None:
    hours, weight = np.array([30.0, 10.0, 20.0]), np.array([1.0, 1.0, 2.0])
    assert metrics.weighted_quantile(hours, weight, 0.1) == 10.0
    assert metrics.weighted_quantile(hours, weight, 0.5) == 20.0
    assert metrics.weighted_quantile(hours, weight, 0.9) == 30.0
    assert np.isnan(metrics.weighted_quantile(hours[:0], weight[:0], 0.5))


def test_stores_are_drawn_whole_until_there_are_enough_shelves() -> None:
    store = np.repeat(np.arange(4), [10, 20, 30, 40])
    rows = some_stores(store, shelves=60, seed=1)
    kept, count = np.unique(store[rows], return_counts=True)
    assert (count == np.array([10, 20, 30, 40])[kept]).all()
    assert 0 < count.sum() <= 60
    assert len(np.unique(store[some_stores(store, shelves=1, seed=1)])) == 1
    assert len(some_stores(store, shelves=1_000, seed=1)) == len(store)
