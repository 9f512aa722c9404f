"""Demand until the order after next: over a random lead time, and more.

Items are rows of aligned arrays (n,); lead times are (n, K) with weights whose rows add up to 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tillstream.demand.belief import Belief
from tillstream.demand.risk import demand_at_least
from tillstream.demand.search import smallest_whole

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Horizon:
    """When an order placed now arrives, in demand days, and how long until the next can be placed.

    `lead_days` and `lead_weight` are (n, K), `review_days` (n,).
    """

    lead_days: Floats
    lead_weight: Floats
    review_days: Floats

    @property
    def mean_lead_days(self) -> Floats:
        mean: Floats = (self.lead_days * self.lead_weight).sum(axis=1)
        return mean

    @property
    def mean_days(self) -> Floats:
        return self.mean_lead_days + self.review_days

    def of_rows(self, rows: Ints) -> "Horizon":
        return Horizon(self.lead_days[rows], self.lead_weight[rows], self.review_days[rows])

    def averaged(self, of_days: Callable[[Floats], Floats], *, after_lead_days: Floats) -> Floats:
        """The average over lead times of `of_days(lead + after_lead_days)`, (n,)."""
        total = np.zeros(len(self.lead_days))
        for k in range(self.lead_days.shape[1]):
            total += self.lead_weight[:, k] * of_days(self.lead_days[:, k] + after_lead_days)
        return total


def at_most(belief: Belief, horizon: Horizon, units: Floats, *, after_lead_days: Floats) -> Floats:
    """P(demand over lead time + `after_lead_days` <= `units`), both (n,), of a random lead time."""
    return 1.0 - horizon.averaged(
        lambda days: demand_at_least(belief, days, units + 1.0), after_lead_days=after_lead_days
    )


def smallest_position(
    belief: Belief,
    horizon: Horizon,
    *,
    rows: Ints,
    wanted: Callable[[Ints, Floats], Floats],
    near: Floats,
) -> Floats:
    """For each of `rows`, the smallest whole x with P(demand over the horizon <= x) >=
    `wanted(rows, x)`, which does not rise with x.

    Looked for from the normal quantile of `near` (one for each of `rows`) on.
    """
    mean, deviation = _moments(belief.of_rows(rows), horizon.of_rows(rows))

    def enough(left: Ints, units: Floats) -> NDArray[np.bool_]:
        there = rows[left]
        when = horizon.of_rows(there)
        chance = at_most(belief.of_rows(there), when, units, after_lead_days=when.review_days)
        return chance >= wanted(there, units)

    return smallest_whole(
        enough,
        near=np.floor(np.maximum(mean + ndtri(near) * deviation, 0.0)),
        step=np.maximum(np.ceil(deviation / 8.0), 1.0),
    )


def _moments(belief: Belief, horizon: Horizon) -> tuple[Floats, Floats]:
    """Mean and standard deviation of demand over the horizon, the lead time being random."""
    days = horizon.lead_days + horizon.review_days[:, None]
    means = days * (belief.a / belief.b)[:, None]
    squares = means * (belief.dispersion[:, None] + days / belief.b[:, None]) + means**2
    mean: Floats = (horizon.lead_weight * means).sum(axis=1)
    variance = (horizon.lead_weight * squares).sum(axis=1) - mean**2
    deviation: Floats = np.sqrt(np.maximum(variance, 0.0))
    return mean, deviation
