"""How good predictions are: arrays in, numbers out.

Of an item at a moment, `risk` is the predicted chance that it runs out, `rank` a number that is
higher for what a rule warns of first, `ran_out` whether it did (bool). Where a function takes
`weight`, a row counts so many times: that is how stores are resampled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BANDS: Final = (0.0, 0.01, 0.05, 0.20, 0.50, 1.0)
CALIBRATION_BINS: Final = 20
_Z95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


def brier(risk: Floats, ran_out: Bools, weight: Floats | None = None) -> float:
    """Mean squared difference (Brier, Monthly Weather Review 78, 1950); 0 is best."""
    return _mean((risk - ran_out) ** 2, weight)


def brier_skill(risk: Floats, ran_out: Bools, weight: Floats | None = None) -> float:
    """1 - Brier score / that of always saying the base rate; 0 when nothing, or all, ran out."""
    base = _mean(ran_out.astype(np.float64), weight)
    if base in (0.0, 1.0):
        return 0.0
    return 1.0 - brier(risk, ran_out, weight) / (base * (1.0 - base))


def quantile_bins(risk: Floats, count: int = CALIBRATION_BINS) -> Ints:
    """The number of each row's bin: equally many rows a bin, and equal risks in one."""
    edges = np.unique(np.quantile(risk, np.arange(1, count) / count))
    return np.searchsorted(edges, risk, side="left")


def calibration_error(
    risk: Floats, ran_out: Bools, bins: Ints, weight: Floats | None = None
) -> float:
    """Mean absolute difference of mean risk and observed rate over the bins, by their rows (Naeini
    et al., AAAI 2015)."""
    weight = np.ones(len(risk)) if weight is None else weight
    gap = np.bincount(bins, weights=weight * (risk - ran_out))
    return float(np.abs(gap).sum() / weight.sum())


def average_precision(rank: Floats, ran_out: Bools, weight: Floats | None = None) -> float:
    """Area under the precision-recall curve, as the sum of precision times the step in recall over
    distinct ranks (Davis & Goadrich, ICML 2006, on why not to interpolate)."""
    precision, recall = precision_recall(rank, ran_out, weight)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def precision_recall(
    rank: Floats, ran_out: Bools, weight: Floats | None = None
) -> tuple[Floats, Floats]:
    """Both, when all down to each distinct rank are warned of, highest first."""
    order = np.argsort(-rank, kind="stable")
    weight = np.ones(len(rank)) if weight is None else weight[order]
    hits, all_ = np.cumsum(weight * ran_out[order]), np.cumsum(weight)
    ranked = rank[order]
    last = np.append(ranked[1:] != ranked[:-1], True) & (all_ > 0)
    hits, all_ = hits[last], all_[last]
    total = hits[-1] if len(hits) else 0.0
    return hits / all_, hits / total if total else np.zeros(len(hits))


def warned(rank: Floats, group: Ints, budget: int, *, seed: int = 0) -> Bools:
    """The `budget` rows of highest rank in each group (a store's day); equal ones by lot."""
    lot = np.random.default_rng(seed).random(len(rank))
    order = np.lexsort((lot, -rank, group))
    grouped = group[order]
    first = np.searchsorted(grouped, grouped)
    chosen = np.zeros(len(rank), dtype=bool)
    chosen[order] = np.arange(len(rank)) - first < budget
    return chosen


def wilson(hits: float, count: float) -> tuple[float, float]:
    """95 % interval of a rate (Wilson, JASA 22, 1927); (0, 1) of nothing."""
    if count <= 0:
        return 0.0, 1.0
    rate, z2 = hits / count, _Z95**2
    middle = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z95 / (1 + z2 / count) * np.sqrt(rate * (1 - rate) / count + z2 / (4 * count**2))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


@dataclass(frozen=True, slots=True)
class Band:
    """Of the rows with a risk from `low` to `high`: how many, what was said and what happened on
    average, and a 95 % interval of the latter."""

    low: float
    high: float
    count: int
    predicted: float
    observed: Estimate

    @property
    def holds(self) -> bool:
        """Whether what was said lies in the interval of what happened; so it does of no rows."""
        return not self.count or self.observed.low <= self.predicted <= self.observed.high


def bands(
    risk: Floats, ran_out: Bools, store: Ints, day: Ints, *, draws: int, seed: int
) -> list[Band]:
    """By BANDS, with intervals by resampling both stores and days (Owen, Annals of Applied
    Statistics 1, 2007: wide rather than narrow): shelves of a day share its weather. They are never
    narrower than Wilson's: a few clusters without a case would give an interval of nothing."""
    number = np.clip(np.searchsorted(BANDS, risk, side="right") - 1, 0, len(BANDS) - 2)
    shape = int(store.max()) + 1, int(day.max()) + 1
    found = []
    for at, (low, high) in enumerate(pairwise(BANDS)):
        here = number == at
        count, hits = int(here.sum()), int(ran_out[here].sum())
        if not count:
            found.append(Band(low, high, 0, 0.0, Estimate(0.0, 0.0, 1.0)))
            continue
        rate = hits / count
        hit, rows = np.zeros(shape), np.zeros(shape)
        np.add.at(hit, (store[here], day[here]), ran_out[here])
        np.add.at(rows, (store[here], day[here]), 1.0)
        drawn = _rates_drawn(hit, rows, draws=draws, seed=seed)
        drawn_low, drawn_high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (rate, rate)
        narrow = wilson(hits, count)
        observed = Estimate(
            rate, float(min(drawn_low, narrow[0])), float(max(drawn_high, narrow[1]))
        )
        found.append(Band(low, high, count, float(risk[here].mean()), observed))
    return found


def _rates_drawn(hits: Floats, rows: Floats, *, draws: int, seed: int) -> Floats:
    """`hits` over `rows`, each (stores, days), when stores and days are drawn again: (draws,) but
    for draws of nothing."""
    draw = np.random.default_rng(seed)
    by_store, by_day = (draw.multinomial(n, np.full(n, 1 / n), draws) for n in rows.shape)
    count = np.einsum("ds,st,dt->d", by_store, rows, by_day)
    some = count > 0
    return np.asarray(np.einsum("ds,st,dt->d", by_store, hits, by_day)[some] / count[some])


def rates(
    above: Floats | Bools, below: Floats | Bools, clusters: Ints
) -> Callable[[Floats], float]:
    """Sum of `above` over sum of `below`, as a function of the clusters' weights (0 of nothing)."""
    size = int(clusters.max(initial=-1)) + 1
    top = np.bincount(clusters, weights=above.astype(np.float64), minlength=size)
    bottom = np.bincount(clusters, weights=below.astype(np.float64), minlength=size)

    def rate(weight: Floats) -> float:
        under = float(weight[:size] @ bottom)
        return float(weight[:size] @ top) / under if under else 0.0

    return rate


def bootstrapped(
    statistic: Callable[[Floats], float], clusters: int, *, draws: int, seed: int
) -> Estimate:
    """A statistic of all clusters once, with the 2.5 % and 97.5 % quantiles of it when as many
    are drawn with replacement (Efron & Tibshirani, 1993, chapter 13). It is given how many times
    each counts (clusters,)."""
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        picked = draw.integers(0, clusters, clusters)
        values.append(statistic(np.bincount(picked, minlength=clusters).astype(np.float64)))
    value = statistic(np.ones(clusters))
    if not values:
        return Estimate(value, value, value)
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def weighted_quantile(values: Floats, weight: Floats, probability: float) -> float:
    """The smallest value with at least `probability` of the weight at or below it; NaN of none."""
    if not len(values) or weight.sum() <= 0:
        return float("nan")
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    at = np.searchsorted(total, probability * total[-1], side="left")
    return float(values[order][min(at, len(values) - 1)])


def _mean(values: Floats, weight: Floats | None) -> float:
    return float(values.mean() if weight is None else weight @ values / weight.sum())
