"""How good forecasts are: arrays in, numbers out.

`units` are what was sold, `mean` what was expected, (n, origins, days) each; sums are kept by
series, so that series can be drawn again for an interval. What is compared with what: a mean is
judged by squares and bias, a median by absolute errors (Kolassa, IJF 36, 2020).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tillstream.ml import spread

Floats = NDArray[np.float64]

COVERAGES: Final = (0.50, 0.67, 0.95, 0.99)
SEASON_DAYS: Final = 7
_WEIGHT_DAYS: Final = 28


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Case:
    """What forecasts are held against: `units` (n, origins, days); `weight` (n,) each series' share
    of recent revenue; scales (n,) of M5, mean |step| and mean step² of the days before, and of
    MASE, mean |step over a week|."""

    units: Floats
    weight: Floats
    absolute: Floats
    squared: Floats
    seasonal: Floats

    @classmethod
    def of(cls, units: Floats, past: Floats, revenue: Floats) -> "Case":
        """`past` (n, days) is what was sold before the first origin, NaN before a series began;
        `revenue` (n, days) of the same days."""
        step = np.diff(past, axis=1)
        week = past[:, SEASON_DAYS:] - past[:, :-SEASON_DAYS]
        recent = revenue[:, -_WEIGHT_DAYS:].sum(axis=1)
        return cls(
            units=units,
            weight=recent / recent.sum(),
            absolute=np.nanmean(np.abs(step), axis=1),
            squared=np.nanmean(step**2, axis=1),
            seasonal=np.nanmean(np.abs(week), axis=1),
        )


@dataclass(frozen=True, slots=True)
class Sums:
    """By series: numerators (n, scores) and denominators (n, scores) of each score in NAMES."""

    above: Floats
    below: Floats

    def scores(self, draw: Floats | None = None) -> Floats:
        """(scores,); with `draw` (n,), how often each series counts."""
        times = np.ones(len(self.above)) if draw is None else draw
        return np.asarray((times @ self.above) / np.maximum(times @ self.below, 1e-12))


NAMES: Final = (
    "wape",
    "wape_of_medians",
    "bias",
    "mase",
    "wrmsse",
    "pinball",
    *(f"coverage_{round(100 * level)}" for level in COVERAGES),
    *(f"inside_{round(100 * level)}" for level in COVERAGES),
)


def sums(case: Case, mean: Floats, variance: Floats) -> Sums:
    """Scores of negative binomials around `mean` with `variance`, both (n, origins, days).

    `coverage_*` counts by how much of a forecast's probability the outcome lies within the interval
    (the nonrandomized PIT of Czado, Gneiting & Held, Biometrics 65, 2009): of an item that nearly
    never sells, {0} alone holds more than half. `inside_*` is the plain share of outcomes between
    the two quantiles, ends included, which then must be larger.
    """
    units, flat = case.units, (len(case.units), -1)
    m, v = mean.ravel().astype(np.float64), variance.ravel().astype(np.float64)
    levels = spread.quantiles(m, v)
    y = units.ravel()
    median = levels[:, 4]
    loss = np.zeros(len(y))
    for at, tau in enumerate(spread.QUANTILES):
        off = y - levels[:, at]
        loss += np.maximum(tau * off, (tau - 1) * off) / len(spread.QUANTILES)
    low, high = spread.cumulated(y - 1, m, v), spread.cumulated(y, m, v)
    covered = [_overlap(low, high, level) for level in COVERAGES]
    inside = [(y >= levels[:, at]) & (y <= levels[:, -1 - at]) for at in (3, 2, 1, 0)]
    rows = np.full(len(units), float(units[0].size))

    def by_series(values: Floats) -> Floats:
        return np.asarray(values.reshape(flat).sum(axis=1), dtype=np.float64)

    sold = by_series(y)
    error = by_series(np.abs(y - m))
    scaled = case.squared > 0
    rmsse = np.sqrt(by_series((y - m) ** 2) / rows / np.where(scaled, case.squared, 1.0))
    pinball = by_series(loss) / rows / np.where(scaled, case.absolute, 1.0)
    seasonal = case.seasonal > 0
    mase = np.where(seasonal, error / rows / np.where(seasonal, case.seasonal, 1.0), 0.0)
    weight = np.where(scaled, case.weight, 0.0)
    above = [error, by_series(np.abs(y - median)), by_series(m - y), mase]
    above += [weight * rmsse, weight * pinball]
    above += [by_series(values.astype(np.float64)) for values in (*covered, *inside)]
    counted = seasonal.astype(np.float64)
    below = [sold, sold, sold, counted, weight, weight, *[rows] * (2 * len(COVERAGES))]
    return Sums(np.stack(above, axis=1), np.stack(below, axis=1))


def estimates(
    sums: Sums, cluster: NDArray[np.int64], *, draws: int = 200, seed: int = 0
) -> dict[str, Estimate]:
    """Each score with an interval from drawing clusters of series (stores, mostly) again."""
    return {
        name: Estimate(value, *ends)
        for name, value, ends in zip(
            NAMES,
            sums.scores().tolist(),
            _ends(np.stack([sums.scores(d) for d in drawn(cluster, draws=draws, seed=seed)])),
            strict=True,
        )
    }


def differences(
    ours: Sums, other: Sums, cluster: NDArray[np.int64], *, draws: int = 200, seed: int = 0
) -> dict[str, Estimate]:
    """Our score less the other's, with an interval from the same draws for both."""
    value = ours.scores() - other.scores()
    both = [ours.scores(d) - other.scores(d) for d in drawn(cluster, draws=draws, seed=seed)]
    ends = _ends(np.stack(both))
    return {
        name: Estimate(one, *two)
        for name, one, two in zip(NAMES, value.tolist(), ends, strict=True)
    }


def drawn(cluster: NDArray[np.int64], *, draws: int, seed: int) -> list[Floats]:
    """How often each series counts, in each draw."""
    count = int(cluster.max()) + 1
    chance = np.random.default_rng(seed)
    return [
        np.bincount(chance.integers(0, count, count), minlength=count).astype(np.float64)[cluster]
        for _ in range(draws)
    ]


def _ends(values: Floats) -> list[tuple[float, float]]:
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _overlap(low: Floats, high: Floats, level: float) -> Floats:
    """The share of [low, high] that lies in the middle `level` of [0, 1]."""
    left, right = (1 - level) / 2, (1 + level) / 2
    part = np.clip(np.minimum(high, right) - np.maximum(low, left), 0.0, None)
    width = high - low
    inside = ((low + high) / 2 >= left) & ((low + high) / 2 <= right)
    return np.where(width > 1e-12, part / np.maximum(width, 1e-12), inside)
