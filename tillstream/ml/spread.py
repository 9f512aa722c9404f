"""How far demand strays from its forecast: negative binomial around the mean.

Variance = mean · (d + c · mean). d - 1 grows with the units of a usual sale (demand comes in
clumps), c is the doubt about the mean itself. Both are fitted on forecasts of days that the model
has not seen, by maximum likelihood (Snyder, Ord & Beaumont, IJF 28, 2012, on why negative binomials
suit slow items).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import nbinom

Floats = NDArray[np.float64]

# The nine of the M5 "uncertainty" competition: median and 50, 67, 95 and 99 % intervals.
QUANTILES: Final = (0.005, 0.025, 0.165, 0.25, 0.5, 0.75, 0.835, 0.975, 0.995)
LEAST_MEAN: Final = 1e-6
_LEAST_EXCESS: Final = 1e-4
# Above this, counting up to a quantile is slower than the library's search.
_COUNTED_MEAN: Final = 30.0
_MOST_ROWS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Spread:
    """d = 1 + `base` + `clump` · (size - 1), c = `doubt`; all at least 0."""

    base: float
    clump: float
    doubt: float

    def variance(self, mean: Floats, size: Floats) -> Floats:
        """Of a day's demand; arrays of one shape."""
        excess = self.base + self.clump * np.maximum(size - 1.0, 0.0) + self.doubt * mean
        return np.asarray(mean * (1.0 + np.maximum(excess, _LEAST_EXCESS)))


def fitted(units: Floats, mean: Floats, size: Floats, *, seed: int = 0) -> Spread:
    """The Spread under which `units` (m,) are likeliest, given their forecasts (m,)."""
    if len(units) > _MOST_ROWS:
        some = np.random.default_rng(seed).choice(len(units), _MOST_ROWS, replace=False)
        units, mean, size = units[some], mean[some], size[some]
    units = np.rint(np.maximum(units, 0.0))
    mean = np.maximum(mean, LEAST_MEAN)

    def cost(logs: Floats) -> float:
        spread = Spread(*np.exp(logs).tolist())
        return -float(log_likelihood(units, mean, spread.variance(mean, size)).mean())

    start = np.log([0.2, 0.5, 0.2])
    found = minimize(cost, start, method="Nelder-Mead", options={"xatol": 0.02, "fatol": 1e-6})
    base, clump, doubt = np.exp(np.clip(found.x, -9.0, 6.0)).tolist()
    return Spread(base, clump, doubt)


def log_likelihood(units: Floats, mean: Floats, variance: Floats) -> Floats:
    """Of whole `units`; arrays of one shape."""
    r, p = _parameters(mean, variance)
    return np.asarray(
        gammaln(units + r) - gammaln(r) - gammaln(units + 1) + r * np.log(p) + units * np.log1p(-p)
    )


def quantiles(mean: Floats, variance: Floats, levels: tuple[float, ...] = QUANTILES) -> Floats:
    """(m, levels): the least number of units that demand does not exceed with each chance."""
    r, p = _parameters(np.maximum(mean, LEAST_MEAN), variance)
    found = np.zeros((len(mean), len(levels)))
    large = mean > _COUNTED_MEAN
    if large.any():
        found[large] = nbinom.ppf(np.array(levels), r[large, None], p[large, None])
    rows = np.flatnonzero(~large)
    chance = p[rows] ** r[rows]
    below = chance.copy()
    top = max(levels)
    count = 0
    while len(rows):
        found[rows] += below[:, None] < np.array(levels)
        going = below < top
        rows, chance, below = rows[going], chance[going], below[going]
        chance = chance * (count + r[rows]) / (count + 1) * (1 - p[rows])
        below = below + chance
        count += 1
    return found


def cumulated(units: Floats, mean: Floats, variance: Floats) -> Floats:
    """The chance of at most `units`; arrays of one shape; 0 below none."""
    r, p = _parameters(np.maximum(mean, LEAST_MEAN), variance)
    return np.asarray(np.where(units < 0, 0.0, nbinom.cdf(units, r, p)))


def _parameters(mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """(r, p) as scipy names them."""
    p = np.minimum(mean / variance, 1.0 - 1e-9)
    return mean * p / (1.0 - p), p
