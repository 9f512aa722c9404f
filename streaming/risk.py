"""What is shown of a shelf beside its risk: how long it lasts, and when to order again.

Demand rate per demand day has a Gamma(a, b) belief: a prior that counts for so many days, learned
or loaded, plus the units sold (a) in the days watched since (b). The risk itself is that of
`tillstream.learning.shelves`, the same at night.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tillstream.demand.belief import Belief, Floats, updated
from tillstream.demand.risk import (
    FAR_DAYS,
    demand_quantile,
    time_to_empty,
)

SERVICE_LEVEL = 0.95
REVIEW_DAYS = 1.0


@dataclass(frozen=True, slots=True)
class Levels:
    """One array each, aligned with the items scored. Days are days of demand."""

    days_of_cover: Floats
    empty_p10_days: Floats
    empty_p50_days: Floats
    empty_p90_days: Floats
    reorder_point: NDArray[np.int64]
    safety_stock: Floats


def belief(
    *,
    prior_daily_units: Floats,
    prior_weight_days: Floats | float,
    units: Floats,
    exposure_days: Floats,
    dispersion: Floats,
) -> Belief:
    """The belief after `units` were sold in `exposure_days`, from a prior of that weight."""
    prior = Belief(
        a=prior_daily_units * prior_weight_days,
        b=np.broadcast_to(np.asarray(prior_weight_days, dtype=np.float64), units.shape),
        dispersion=dispersion,
    )
    return updated(prior, units=units, exposure=exposure_days)


def levels(belief_: Belief, *, on_hand: Floats, lead_time_days: Floats) -> Levels:
    """By the stock of the books, and as if nothing were on its way."""
    protection = lead_time_days + REVIEW_DAYS
    reorder_point = demand_quantile(belief_, protection, SERVICE_LEVEL)
    daily = belief_.daily_units
    return Levels(
        days_of_cover=np.minimum(np.maximum(on_hand, 0.0) / daily, FAR_DAYS),
        empty_p10_days=time_to_empty(belief_, on_hand, 0.10),
        empty_p50_days=time_to_empty(belief_, on_hand, 0.50),
        empty_p90_days=time_to_empty(belief_, on_hand, 0.90),
        reorder_point=reorder_point,
        safety_stock=reorder_point - protection * daily,
    )
