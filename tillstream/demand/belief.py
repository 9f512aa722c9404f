"""What is believed of an item's demand: Gamma(a, b) of its rate, and how clumped demand is.

Time is counted in demand days: an average day of an item's demand is 1. Demand in h of them has
mean h·a/b and variance mean·(d + h/b), where d, the dispersion, is the variance over the mean of
demand at a known rate and h/b is the doubt about the rate (Gelman et al., Bayesian Data Analysis,
3rd ed., 2.6).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Keeps every formula finite for a prior of no demand.
LEAST_UNITS = 1e-9


@dataclass(frozen=True, slots=True)
class Belief:
    """Gamma(a, b) of units a demand day and the dispersion of demand (>= 1): arrays (n,)."""

    a: Floats
    b: Floats
    dispersion: Floats

    @property
    def daily_units(self) -> Floats:
        """Expected units a demand day, (n,)."""
        return self.a / self.b

    def of_rows(self, rows: NDArray[np.int64] | slice) -> "Belief":
        return Belief(self.a[rows], self.b[rows], self.dispersion[rows])


def updated(prior: Belief, *, units: Floats, exposure: Floats) -> Belief:
    """The belief after `units` (n,) were sold in `exposure` (n,) demand days with stock there.

    Overdispersed sales tell less than their number, so the evidence is divided by the dispersion:
    exact for demand in clumps of that many units. Returns of goods may make `units` negative,
    which counts as none sold.
    """
    spread = np.maximum(prior.dispersion, 1.0)
    a = prior.a + np.maximum(units, 0.0) / spread
    b = prior.b + np.maximum(exposure, 0.0) / spread
    return Belief(a=np.maximum(a, LEAST_UNITS), b=b, dispersion=spread)
