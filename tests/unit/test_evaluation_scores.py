"""Rules that peers use, and the scores of a predictor, against cases worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from simulators.world.seasons import DAY_MS
from tillstream.evaluation import metrics, rules
from tillstream.evaluation.books import OnTheWay, OrderBook, Received, Snapshot
from tillstream.evaluation.plots import plot_calibration, plot_precision_recall
from tillstream.evaluation.rules import Scored, scored
from tillstream.evaluation.run import pooled_errors
from tillstream.evaluation.scores import Judged, gap_numbers, statistics

NOW = 100 * DAY_MS


def a_snapshot() -> Snapshot:
    """Three items: 12, 3 and 0 on hand, a lead time of 2 days, 30, 60 and 0 sold in 30 days; of the
    first 6 come tomorrow and 6 in three days."""
    sold = np.zeros((3, 30))
    sold[0] = 1.0
    sold[1, ::2] = 4.0
    return Snapshot(
        as_of_ms=NOW,
        row=np.array([4, 5, 9]),
        store=np.zeros(3, dtype=np.int64),
        product=np.arange(3),
        recorded=np.array([12, 3, 0]),
        promised_ms=np.full(3, NOW + 2 * DAY_MS),
        sold=sold,
        days_known=45,
        on_the_way=OnTheWay(
            item=np.array([0, 0]),
            expected_ms=np.array([NOW + DAY_MS, NOW + 3 * DAY_MS]),
            units=np.array([6, 6]),
            is_transfer=np.zeros(2, dtype=bool),
        ),
        received=Received(*(np.empty(0, dtype=np.int64) for _ in range(3))),
    )


def test_fixed_threshold_fires_below_ten_on_hand() -> None:
    found = rules.fixed_threshold(a_snapshot())
    assert found.fires.tolist() == [False, True, True]
    assert np.argsort(-found.rank).tolist() == [2, 1, 0]
    assert found.risk is None


def test_what_comes_before_an_order_could_counts_as_there() -> None:
    assert rules.position(a_snapshot()).tolist() == [18, 3, 0]


def test_reorder_point_fires_at_lead_time_and_review_of_mean_demand() -> None:
    # Levels of 3 days: 3, 6 and 0 units.
    assert rules.reorder_point(a_snapshot()).fires.tolist() == [False, True, True]


def test_days_of_cover_fires_below_the_lead_time() -> None:
    # 12 and 1.5 days; who sells nothing and has nothing is out.
    assert rules.days_of_cover(a_snapshot()).fires.tolist() == [False, True, True]


def test_normal_approximation_is_scipys() -> None:
    found = rules.normal_approximation(a_snapshot())
    assert found.risk is not None
    deviation = np.std([4.0, 0.0] * 15, ddof=1) * np.sqrt(2)
    assert found.risk[1] == pytest.approx(norm.sf(3, loc=4, scale=deviation))
    # Demand that never varied is certain.
    assert found.risk[[0, 2]].tolist() == [0.0, 1.0]


def test_the_mean_is_over_the_days_there_were() -> None:
    short = replace(a_snapshot(), days_known=10)
    assert rules.mean_daily_units(short)[0] == 3.0


def test_an_order_is_open_from_when_it_is_placed_until_it_is_received() -> None:
    orders = OrderBook(
        row=np.array([4, 4, 5, 7]),
        ordered_ms=np.array([0, 50, 0, 0]),
        expected_ms=np.array([60, 110, 80, 80]),
        received_ms=np.array([60, 110, 120, 120]),
        units=np.array([1, 2, 3, 4]),
        is_transfer=np.zeros(4, dtype=bool),
    )
    rows = np.array([4, 5, 9])
    assert orders.open_at(40, rows).units.tolist() == [1, 3]
    found = orders.open_at(100, rows)
    # The overdue one is known by its promise alone.
    assert found.item.tolist() == [0, 1]
    assert found.expected_ms.tolist() == [110, 80]
    assert orders.open_at(200, rows).units.tolist() == []


def judged() -> Judged:
    """Two stores of two items, on two days; each day one item of each store is at risk."""
    return Judged(
        store=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        row=np.array([0, 1, 2, 3, 0, 1, 2, 3]),
        group=np.array([0, 0, 1, 1, 2, 2, 3, 3]),
        ran_out=np.array([True, False, False, True, True, False, False, False]),
        hours=np.array([40.0, np.inf, np.inf, 6.0, 16.0, np.inf, np.inf, np.inf]),
        gap=np.array([0, 1, 2, 3, 0, 4, 5, 6]),
        first_slot=np.array([1, 0, 0, 0, 1, 0, 0, 0]),
        last_slot=np.array([2, 0, 0, 0, 1, 0, 0, 0]),
        unmet_margin=np.array([[9.0, 4.0, 2.0], [9.0, 9.0, 9.0], [0.0, 0.0, 0.0], [2.0, 7.0, 7.0]]),
        stores=2,
        store_days=4,
    )


def value(found: Scored, name: str, weight: tuple[float, float] = (1.0, 1.0)) -> float:
    return statistics(judged(), found, budget=1)[name](np.array(weight))


RISK = np.array([0.9, 0.1, 0.6, 0.2, 0.8, 0.3, 0.1, 0.05])


def test_scores_at_the_budget_by_hand() -> None:
    # Warned of: items 0, 2, 0, 2; of three that ran out two.
    found = scored(RISK)
    assert value(found, "precision") == 0.5
    assert value(found, "recall") == pytest.approx(2 / 3)
    assert value(found, "false_alerts") == 0.5
    assert value(found, "own_alerts") == pytest.approx(3 / 4)
    assert value(found, "own_precision") == pytest.approx(2 / 3)


def test_warning_counts_from_the_first_alert_of_a_gap() -> None:
    assert value(scored(RISK), "warning_median_hours") == 40.0
    late = RISK.copy()
    late[0] = 0.0
    assert value(scored(late), "warning_median_hours") == 16.0


def test_lost_margin_counts_a_slot_once_and_only_what_was_warned_of() -> None:
    # Item 0 loses 4 + 2 over both days together, item 3 loses 2.
    assert value(scored(RISK), "lost_margin_avoided") == pytest.approx(6 / 8)
    assert value(scored(1 - RISK), "lost_margin_avoided") == pytest.approx(2 / 8)


def test_weights_of_stores_are_like_counting_them_so_often() -> None:
    found = scored(RISK)
    assert value(found, "recall", (1.0, 0.0)) == 1.0
    assert value(found, "recall", (0.0, 1.0)) == 0.0
    assert value(found, "recall", (2.0, 3.0)) == pytest.approx(4 / 7)
    assert value(found, "false_alerts", (0.0, 2.0)) == 1.0


def test_scores_are_those_of_metrics() -> None:
    all_, found = judged(), scored(RISK)
    weight = np.array([1.0, 3.0])
    rows = weight[all_.store]
    assert value(found, "brier") == pytest.approx(metrics.brier(RISK, all_.ran_out))
    assert value(found, "skill", (1, 3)) == pytest.approx(
        metrics.brier_skill(RISK, all_.ran_out, rows)
    )
    assert value(found, "pr_auc", (1, 3)) == pytest.approx(
        metrics.average_precision(RISK, all_.ran_out, rows)
    )
    bins = metrics.quantile_bins(RISK)
    assert value(found, "calibration_error", (1, 3)) == pytest.approx(
        metrics.calibration_error(RISK, all_.ran_out, bins, rows)
    )


def test_a_rule_without_probability_has_no_probability_scores() -> None:
    found = statistics(judged(), Scored(RISK, RISK > 0.5), budget=1)
    assert not {"brier", "skill", "calibration_error"} & set(found)
    assert "pr_auc" in found


def test_one_gap_has_one_number() -> None:
    numbers = gap_numbers(np.array([1, 1, 2, 1]), np.array([5, 5, 5, 6]))
    assert numbers[0] == numbers[1]
    assert len(set(numbers.tolist())) == 3


def test_the_law_of_errors_keeps_their_mean_by_stock() -> None:
    draw = np.random.default_rng(1)
    recorded = np.repeat([0, 50], 9000)
    error = np.where(recorded == 0, 3, draw.integers(-9, 10, 18_000))
    units, weight = pooled_errors(error, recorded)
    assert units.shape == weight.shape == (18_000, 9)
    assert weight.sum(axis=1) == pytest.approx(1.0)
    assert (units[0] == 3).all()
    assert units[-1].tolist() == pytest.approx([-8, -6, -4, -2, 0, 2, 4, 6, 8], abs=1)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_curves_are_drawn(tmp_path: Path, ending: str) -> None:
    draw = np.random.default_rng(0)
    risk = draw.random(500)
    ran_out = draw.random(500) < risk
    first, second = tmp_path / f"calibration.{ending}", tmp_path / f"precision.{ending}"
    plot_calibration(first, {"ours": risk}, ran_out)
    plot_precision_recall(second, {"ours": risk, "a rule": -risk}, ran_out)
    for path in (first, second):
        assert path.stat().st_size > 5000
