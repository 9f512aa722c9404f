"""Demand with many days of none: its classes, and an estimate of its daily rate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tillstream.demand.belief import Floats

# Above these, Croston's method beats simple smoothing (Syntetos, Boylan & Croston, JORS 56, 2005).
ADI_CUT = 1.32
CV2_CUT = 0.49
PATTERNS = ("smooth", "erratic", "intermittent", "lumpy")


@dataclass(frozen=True, slots=True)
class Series:
    """What is kept of items' daily demand, arrays (n,): days seen, days with demand, Σ x, Σ x²."""

    days: Floats
    demand_days: Floats
    units: Floats
    squares: Floats

    @property
    def interval_days(self) -> Floats:
        """ADI, the mean interval between days with demand; infinite without any."""
        some = self.demand_days > 0
        return np.where(some, self.days / np.where(some, self.demand_days, 1.0), np.inf)

    @property
    def size(self) -> Floats:
        """Mean demand of the days with demand; 0 without any."""
        return self.units / np.maximum(self.demand_days, 1.0)

    @property
    def size_variance(self) -> Floats:
        """Sample variance of the demand of days with demand; 0 below two of them."""
        free = np.maximum(self.demand_days - 1.0, 1.0)
        spread = self.squares - self.units * self.size
        return np.where(self.demand_days > 1, np.maximum(spread, 0.0) / free, 0.0)

    @property
    def cv2(self) -> Floats:
        """Squared coefficient of variation of those sizes."""
        some = self.size > 0
        squared: Floats = self.size_variance / np.where(some, self.size, 1.0) ** 2
        return squared


@dataclass(frozen=True, slots=True)
class Rate:
    """Units a day and a variance in units², arrays (n,)."""

    mean: Floats
    variance: Floats


def tallied(item: NDArray[np.int64], units: Floats, *, items: int) -> Series:
    """The Series of ragged daily demand: `units` (m,) of the days of `item` (m,), in any order,
    every day seen having an entry, also those of no demand."""
    positive = np.maximum(units, 0.0)
    some = (positive > 0).astype(np.float64)
    days, demand_days, total, squares = (
        np.bincount(item, weights=values, minlength=items).astype(np.float64)
        for values in (np.ones_like(positive), some, positive, positive**2)
    )
    return Series(days=days, demand_days=demand_days, units=total, squares=squares)


def pattern(series: Series) -> NDArray[np.int8]:
    """The place in PATTERNS of each item's class, (n,); an item without demand is intermittent."""
    rare = series.interval_days >= ADI_CUT
    varied = series.cv2 >= CV2_CUT
    return (2 * rare + varied).astype(np.int8)


def tsb(
    demand: Floats, *, start: Series, probability_weight: float = 0.05, size_weight: float = 0.1
) -> Rate:
    """Rate after each item's `demand` (n, days), by Teunter, Syntetos & Babai (EJOR 214, 2011):
    the chance of demand is smoothed every day, so that it fades when an item dies; the size only
    on days with demand. NaN marks days that say nothing (out of stock, closed).

    It starts from the chance and the mean size of `start`. The variance is that of a day's demand,
    p·E[size²] - (p·E[size])², with the second moment smoothed like the size.
    """
    chance = np.where(start.days > 0, start.demand_days / np.maximum(start.days, 1.0), 0.0)
    size, square = start.size, start.squares / np.maximum(start.demand_days, 1.0)
    for today in demand.T:
        seen, some = ~np.isnan(today), today > 0
        chance = np.where(seen, chance + probability_weight * (some - chance), chance)
        # With no size to start from, the first is taken whole.
        weight = np.where(size > 0, size_weight, 1.0)
        size, square = (
            np.where(some, old + weight * (new - old), old)
            for old, new in ((size, today), (square, today**2))
        )
    return Rate(chance * size, np.maximum(chance * square - (chance * size) ** 2, 0.0))
