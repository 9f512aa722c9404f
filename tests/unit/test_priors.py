"""Priors found by key, and defaults where there are none."""

import numpy as np

from streaming.priors import Known, Priors
from tillstream.settings import RiskSettings

F32 = np.float32
RULES = RiskSettings(default_daily_units=4.0, prior_weight_days=7.0, lead_time_days=3.0)


def told(found: Known) -> list[list[float]]:
    columns = (found.daily_units, found.weight_days, found.dispersion, found.lead_time_days)
    return [column.tolist() for column in columns]


def test_each_item_has_its_own_prior_or_the_defaults() -> None:
    some = Priors(
        np.array([2, 5, 2**63], np.uint64),
        np.array([0.5, 1.5, 2.5], F32),
        np.array([30.0, 0.0, 40.0], F32),
        np.array([1.0, 2.0, 3.0], F32),
        np.array([7.0, 8.0, 0.0], F32),
        np.array([11, 12, 13]),
    )
    keys = np.array([5, 1, 2**63, 2**64 - 1, 2], np.uint64)
    assert told(some.of(keys, RULES)) == [
        [1.5, 4.0, 2.5, 4.0, 0.5],
        [7.0, 7.0, 40.0, 7.0, 30.0],
        [2.0, 1.0, 3.0, 1.0, 1.0],
        [8.0, 0.0, 0.0, 0.0, 7.0],
    ]
    found = some.of(keys, RULES)
    assert found.first_seen_ms.tolist() == [12, 0, 13, 0, 11]
    assert found.is_known.tolist() == [True, False, True, False, True]


def test_without_any_all_have_the_defaults() -> None:
    nothing, never = np.array([], F32), np.array([], np.int64)
    none = Priors(np.array([], np.uint64), nothing, nothing, nothing, nothing, never)
    found = none.of(np.array([1, 2], np.uint64), RULES)
    assert told(found) == [[4.0, 4.0], [7.0, 7.0], [1.0, 1.0], [0.0, 0.0]]
