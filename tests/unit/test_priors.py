"""Priors found by key, and defaults where there are none."""

import numpy as np

from streaming.priors import Priors

F32 = np.float32


def test_each_item_has_its_own_prior_or_the_defaults() -> None:
    some = Priors(
        np.array([2, 5, 2**63], np.uint64),
        np.array([0.5, 1.5, 2.5], F32),
        np.array([1.0, 2.0, 3.0], F32),
        np.array([7.0, 8.0, 9.0], F32),
    )
    keys = np.array([5, 1, 2**63, 2**64 - 1, 2], np.uint64)
    units, dispersion, lead_time = some.of(
        keys, daily_units=4.0, dispersion=1.0, lead_time_days=3.0
    )
    assert units.tolist() == [1.5, 4.0, 2.5, 4.0, 0.5]
    assert dispersion.tolist() == [2.0, 1.0, 3.0, 1.0, 1.0]
    assert lead_time.tolist() == [8.0, 3.0, 9.0, 3.0, 7.0]


def test_without_any_all_have_the_defaults() -> None:
    nothing = np.array([], F32)
    none = Priors(np.array([], np.uint64), nothing, nothing, nothing)
    units, _, _ = none.of(
        np.array([1, 2], np.uint64), daily_units=4.0, dispersion=1.0, lead_time_days=3.0
    )
    assert units.tolist() == [4.0, 4.0]
