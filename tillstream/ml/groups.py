"""What groups of items sell together: a product's in all stores, a store's, a category's."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tillstream.ml.panel import Panel

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

LEAST_RATE: Final = 1e-4
LONG_AGO: Final = 180.0
# A group's rate counts as so many days of a wider group's.
_GROUP_DAYS: Final = 30.0
PROFILE_DAYS: Final = 84


@dataclass(frozen=True, slots=True)
class Group:
    """Running sums of groups of items; every answer has a row for each item."""

    of_item: Ints
    daily: Floats
    units: Floats
    exposure: Floats
    last: Ints

    @classmethod
    def of(cls, panel: Panel, of_item: Ints) -> "Group":
        count = int(of_item.max()) + 1
        daily = np.zeros((count, panel.days), dtype=np.float32)
        exposure = np.zeros_like(daily)
        np.add.at(daily, of_item, panel.units)
        np.add.at(exposure, of_item, panel.in_stock)
        return cls(of_item, daily, running(daily), running(exposure), last_positive(daily))

    def rate(self, origin: int, days: int) -> Floats:
        """Units a day of an average item of the group."""
        units, exposure = self._window(origin, days)
        return np.asarray(units / np.maximum(exposure, 1.0), dtype=np.float32)

    def drawn(self, origin: int, days: int, *, towards: Floats) -> Floats:
        """The same, drawn `towards` a rate that is better known."""
        units, exposure = self._window(origin, days)
        drawn = (units + _GROUP_DAYS * towards) / (exposure + _GROUP_DAYS)
        return np.asarray(np.maximum(drawn, LEAST_RATE), dtype=np.float32)

    def _window(self, origin: int, days: int) -> tuple[Floats, Floats]:
        since = max(0, origin - days)
        units = (self.units[:, origin] - self.units[:, since])[self.of_item]
        return units, (self.exposure[:, origin] - self.exposure[:, since])[self.of_item]

    def last_sale(self, origin: int) -> Ints:
        return np.asarray(self.last[:, origin][self.of_item])

    def weekday_index(self, window: Ints, which: Ints) -> Floats:
        """(items, 7) from the days of `window`, of which weekday each is `which`."""
        daily = self.daily[:, window]
        sums = np.stack([daily[:, which == day].sum(axis=1) for day in range(7)], axis=1)
        count = np.maximum(np.bincount(which, minlength=7), 1)
        mean = daily.sum(axis=1, keepdims=True) / max(1, len(window))
        # As if 40 units more had been sold on evenly good days.
        index = (sums / count + 40 / PROFILE_DAYS) / (mean + 40 / PROFILE_DAYS)
        return np.asarray(index[self.of_item], dtype=np.float32)


def running(values: NDArray[np.generic]) -> Floats:
    """(n, days + 1) sums of all days before each."""
    total = np.zeros((values.shape[0], values.shape[1] + 1), dtype=np.float32)
    np.cumsum(values, axis=1, dtype=np.float32, out=total[:, 1:])
    return total


def last_positive(values: Floats) -> Ints:
    """(n, days + 1) the last day before each on which something was sold, -LONG_AGO if none."""
    day = np.where(values > 0, np.arange(values.shape[1]), -int(LONG_AGO))
    last = np.full((values.shape[0], values.shape[1] + 1), -int(LONG_AGO), dtype=np.int32)
    np.maximum.accumulate(day, axis=1, out=last[:, 1:])
    return last
