"""How likely a shelf is to run empty before an order placed now can arrive.

Demand rate per day has a Gamma(a, b) belief: a prior of weight `prior_weight_days` around the
item's history, plus the units sold (a) in the days watched (b). Demand over h days then has mean
m = h·a/b and variance m·(d + h/b), where d is the variance-to-mean ratio of demand itself and h/b
is our doubt about the rate; the negative binomial with these two moments is used throughout
(d = 1 is exactly the Gamma-Poisson predictive; Gelman et al., Bayesian Data Analysis, 2.6).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, ndtri

Floats = NDArray[np.float64]

SERVICE_LEVEL = 0.95
REVIEW_DAYS = 1.0
# Time to empty is reported up to this many days: beyond it, nobody acts on the difference.
FAR_DAYS = 3650.0
# Keeps every formula finite for a prior of no demand and for an order that arrives at once.
_LEAST_UNITS = 1e-9
_LEAST_DAYS = 1e-9


@dataclass(frozen=True, slots=True)
class Belief:
    """Gamma(a, b) of the demand rate in units a day, and the dispersion of demand; arrays."""

    a: Floats
    b: Floats
    dispersion: Floats

    @property
    def daily_units(self) -> Floats:
        return self.a / self.b


@dataclass(frozen=True, slots=True)
class Score:
    """One array each, aligned with the items scored."""

    risk: Floats
    days_of_cover: Floats
    empty_p10_days: Floats
    empty_p50_days: Floats
    empty_p90_days: Floats
    reorder_point: NDArray[np.int64]
    safety_stock: Floats
    expected_lost_units: Floats


def belief(
    *,
    prior_daily_units: Floats,
    prior_weight_days: float,
    units: Floats,
    exposure_days: Floats,
    dispersion: Floats,
) -> Belief:
    """The belief after `units` were sold in `exposure_days`. Overdispersed sales tell less than
    their number, so the evidence is divided by the dispersion."""
    spread = np.maximum(dispersion, 1.0)
    a = prior_daily_units * prior_weight_days + np.maximum(units, 0.0) / spread
    b = prior_weight_days + exposure_days / spread
    return Belief(a=np.maximum(a, _LEAST_UNITS), b=b, dispersion=spread)


def _negative_binomial(belief_: Belief, days: Floats) -> tuple[Floats, Floats, Floats]:
    """(mean, r, q) of demand over `days`; P(D >= s) = I_q(s, r) for s >= 1."""
    days = np.maximum(days, _LEAST_DAYS)
    mean = days * belief_.daily_units
    excess = belief_.dispersion - 1.0 + days / belief_.b
    r = mean / excess
    return mean, r, excess / (1.0 + excess)


def demand_at_least(belief_: Belief, days: Floats, units: Floats) -> Floats:
    """P(demand over `days` >= `units`)."""
    _, r, q = _negative_binomial(belief_, days)
    return np.where(units <= 0, 1.0, betainc(np.maximum(units, 1.0), r, q))


def demand_quantile(belief_: Belief, days: Floats, probability: float) -> NDArray[np.int64]:
    """The smallest x with P(demand over `days` <= x) >= `probability`."""
    mean, _, q = _negative_binomial(belief_, days)
    deviation = np.sqrt(mean / (1.0 - q))
    low = np.zeros_like(mean)
    high = np.maximum(np.ceil(mean + ndtri(probability) * deviation + 3.0), 1.0)

    def reached(x: Floats) -> NDArray[np.bool_]:
        return 1.0 - demand_at_least(belief_, days, x + 1.0) >= probability

    while not (enough := reached(high)).all():
        high = np.where(enough, high, 2.0 * high + 1.0)
    while (low < high).any():  # bisection: `high` always reaches the probability
        middle = np.floor((low + high) / 2.0)
        enough = reached(middle)
        high = np.where(enough, middle, high)
        low = np.where(enough, low, np.minimum(middle + 1.0, high))
    return high.astype(np.int64)


def time_to_empty(belief_: Belief, stock: Floats, probability: float) -> Floats:
    """The `probability` quantile of the days until `stock` units are sold, at most FAR_DAYS.

    With demand in clumps of d units, stock/d clumps must be sold at a rate of Gamma(a, b·d) clumps
    a day: T = b·d·BetaPrime(stock/d, a).
    """
    clumps = np.maximum(stock, 0.0) / belief_.dispersion
    x = betaincinv(np.maximum(clumps, 1e-9), belief_.a, probability)
    with np.errstate(divide="ignore"):
        days = belief_.b * belief_.dispersion * x / (1.0 - x)
    return np.where(stock <= 0, 0.0, np.minimum(days, FAR_DAYS))


def expected_shortfall(belief_: Belief, days: Floats, stock: Floats) -> Floats:
    """E[(demand over `days` - stock)+], in units."""
    mean, r, q = _negative_binomial(belief_, days)
    s = np.maximum(stock, 0.0)
    above = np.where(s <= 1, 1.0, betainc(np.maximum(s - 1.0, 1.0), r + 1.0, q))
    return np.maximum(mean * above - s * demand_at_least(belief_, days, s), 0.0)


def score(belief_: Belief, *, on_hand: Floats, lead_time_days: Floats) -> Score:
    """Everything shown about items. `risk` is 1 where the recorded stock is already gone."""
    protection = lead_time_days + REVIEW_DAYS
    reorder_point = demand_quantile(belief_, protection, SERVICE_LEVEL)
    daily = belief_.daily_units
    return Score(
        risk=demand_at_least(belief_, lead_time_days, on_hand),
        days_of_cover=np.minimum(np.maximum(on_hand, 0.0) / daily, FAR_DAYS),
        empty_p10_days=time_to_empty(belief_, on_hand, 0.10),
        empty_p50_days=time_to_empty(belief_, on_hand, 0.50),
        empty_p90_days=time_to_empty(belief_, on_hand, 0.90),
        reorder_point=reorder_point,
        safety_stock=reorder_point - protection * daily,
        expected_lost_units=expected_shortfall(belief_, lead_time_days, on_hand),
    )
