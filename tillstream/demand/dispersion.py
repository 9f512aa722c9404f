"""How clumped demand is: variance over mean at a known rate, pooled by group."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tillstream.demand.belief import Floats

# Where a group's items differ no more than by chance, an item's own days hardly count.
_MOST_PRIOR_DAYS = 1e6


@dataclass(frozen=True, slots=True)
class Days:
    """What is kept of an item's days in stock, arrays (n,): how many there were, units sold x,
    Σ exposure and Σ x²/exposure. With days of exposure 1 these are the days and the Σ x²."""

    days: Floats
    units: Floats
    exposure: Floats
    squares: Floats


def dispersion_of(days: Days, group: NDArray[np.int64], *, groups: int) -> tuple[Floats, Floats]:
    """(dispersion of each item (n,), of each group (groups,)), all >= 1.

    `group` (n,) numbers the groups from 0. An item's mean is estimated from the same days, so its
    Σ x²/e - (Σ x)²/Σ e has the expectation (days - 1)·d·mean: a group's d is the ratio of the sums
    of both sides (Pearson's estimate; McCullagh & Nelder, Generalized Linear Models, 2nd ed.,
    4.5.2). An item's own ratio varies by chance with variance 2d²/(days - 1); what it varies
    beyond that sets, by the method of moments, how far it is drawn to its group.
    """
    exposure = np.where(days.exposure > 0, days.exposure, 1.0)
    mean = days.units / exposure
    free = np.where((days.units > 0) & (days.exposure > 0), np.maximum(days.days - 1.0, 0.0), 0.0)
    around = np.where(free > 0, days.squares - days.units * mean, 0.0)
    spread, expected = _sums(group, groups, around), _sums(group, groups, free * mean)
    pooled = np.maximum(np.where(expected > 0, spread / np.where(expected > 0, expected, 1), 1), 1)
    own = around / np.where(free > 0, free * mean, 1.0)
    weight = _prior_days(own, free, group, pooled)[group]
    drawn = (free * own + weight * pooled[group]) / (free + weight)
    return np.maximum(drawn, 1.0), pooled


def _prior_days(own: Floats, free: Floats, group: NDArray[np.int64], pooled: Floats) -> Floats:
    """The days that a group's dispersion is worth to its items, (groups,)."""
    groups = len(pooled)
    total = np.maximum(_sums(group, groups, free), 1e-9)
    seen = _sums(group, groups, free * (own - pooled[group]) ** 2) / total
    by_chance = 2.0 * pooled**2 * _sums(group, groups, (free > 0).astype(np.float64)) / total
    between = np.maximum(seen - by_chance, 0.0)
    least = 2.0 * pooled**2 / _MOST_PRIOR_DAYS
    return 2.0 * pooled**2 / np.maximum(between, least)


def _sums(group: NDArray[np.int64], groups: int, values: Floats) -> Floats:
    return np.bincount(group, weights=values, minlength=groups).astype(np.float64)
