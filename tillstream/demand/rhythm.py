"""When in the week demand comes: clock time turned into demand days."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tillstream.demand.belief import Floats
from tillstream.errors import ConfigError

Milliseconds = NDArray[np.int64]

_HOUR_MS = 3_600_000
_WEEK_HOURS = 168
# 1 January 1970 was a Thursday; weeks here begin on Monday.
_EPOCH_HOUR = 3 * 24
# So many sales in an hour of the week say as much as the weekday and the hour of day together.
_SMOOTHING_UNITS = 20.0


@dataclass(frozen=True, slots=True)
class Rhythm:
    """`weights` (7, 24): demand days that pass in each hour of the week, Monday first, local time;
    an average day's make 1, so the week's make 7. Hours of weight 0 are closed."""

    weights: Floats

    def __post_init__(self) -> None:
        weights = self.weights
        if weights.shape != (7, 24) or not np.isfinite(weights).all() or (weights < 0).any():
            raise ConfigError(
                "a rhythm needs 7 x 24 weights, none of them negative",
                hint="Rhythm.fitted makes them from sales counted by weekday and hour",
            )
        if abs(weights.sum() - 7.0) > 1e-6:
            raise ConfigError(
                f"a week's weights add up to {weights.sum():g}, not to 7",
                hint="Rhythm.fitted makes them from sales counted by weekday and hour",
            )

    @classmethod
    def flat(cls) -> Self:
        """Demand at all hours alike: a demand day is 24 hours."""
        return cls(np.full((7, 24), 1.0 / 24.0))

    @classmethod
    def fitted(cls, counts: Floats) -> Self:
        """The rhythm of sales `counts` (7, 24), in units or lines, over whole weeks.

        An hour of the week with few sales is drawn towards what its weekday and its hour of day
        say when taken as independent: (count + s)/(expected + s) times the expected count, with s
        of 20 sales (the gamma-Poisson mean). No sales at all give the flat rhythm.
        """
        sold = np.maximum(counts.astype(np.float64), 0.0)
        total = sold.sum()
        if total <= 0:
            return cls.flat()
        expected = np.outer(sold.sum(axis=1), sold.sum(axis=0)) / total
        drawn = expected * (sold + _SMOOTHING_UNITS) / (expected + _SMOOTHING_UNITS)
        return cls(drawn * (7.0 / drawn.sum()))

    def days_between(
        self,
        start_ms: Milliseconds | int,
        end_ms: Milliseconds | int,
        offset_ms: Milliseconds | int,
    ) -> Floats:
        """Demand days from `start_ms` to `end_ms` (UTC milliseconds, any shapes that broadcast),
        negative where the end comes first. Local time is UTC plus `offset_ms`, one offset for
        both ends. Exact at fractions of hours, at the same cost for an hour and for years."""
        start = np.asarray(start_ms, dtype=np.int64) + offset_ms
        end = np.asarray(end_ms, dtype=np.int64) + offset_ms
        weeks_before, within_before = self._since_monday(start)
        weeks, within = self._since_monday(end)
        days = 7.0 * (weeks - weeks_before) + (within - within_before)
        # Rounding must not turn closed hours into a hair less than nothing.
        return np.where(end >= start, np.maximum(days, 0.0), np.minimum(days, 0.0))

    def _since_monday(self, local_ms: Milliseconds) -> tuple[Milliseconds, Floats]:
        """Whole weeks since a fixed Monday, and demand days since the last one."""
        by_hour = self.weights.reshape(_WEEK_HOURS)
        passed = np.concatenate([[0.0], np.cumsum(by_hour)])
        hours, into_ms = np.divmod(local_ms + _EPOCH_HOUR * _HOUR_MS, _HOUR_MS)
        weeks, hour = np.divmod(hours, _WEEK_HOURS)
        return weeks, passed[hour] + by_hour[hour] * (into_ms / _HOUR_MS)
