"""How much demand there could have been between two moments: time, weighted by when people shop and
by how long ago it was."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from tillstream.clock import zone_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True)
class Exposure:
    """`cumulated` (zones, hours + 1) demand days from `start_ms` on, by the store's time zone."""

    start_ms: int
    cumulated: Floats

    @classmethod
    def of(
        cls,
        weights: Floats,
        start_ms: int,
        end_ms: int,
        *,
        zones: list[str],
        half_life_days: float | None = None,
    ) -> "Exposure":
        """`weights` (7, 24) are those of a `Rhythm`. With a half-life, time before
        `end_ms` counts for less the longer ago it was."""
        start_ms = start_ms // HOUR_MS * HOUR_MS
        hours = start_ms + np.arange(-(-(end_ms - start_ms) // HOUR_MS)) * HOUR_MS
        rows = []
        for zone in zones:
            local = hours + utc_offset_ms(zone, hours)
            weight = weights[local_weekday(local), local // HOUR_MS % 24]
            if half_life_days is not None:
                weight = weight * np.exp2((hours - end_ms) / (half_life_days * DAY_MS))
            rows.append(np.concatenate([[0.0], np.cumsum(weight)]))
        return cls(start_ms, np.array(rows))

    def between(self, zone: Ints, start_ms: Ints, end_ms: Ints) -> Floats:
        """Demand days (n,) from `start_ms` to `end_ms`, both cut to the span that is known."""
        return np.maximum(self._until(zone, end_ms) - self._until(zone, start_ms), 0.0)

    def _until(self, zone: Ints, at_ms: Ints) -> Floats:
        last = self.cumulated.shape[1] - 1
        hours = np.clip((at_ms - self.start_ms) / HOUR_MS, 0.0, float(last))
        whole = np.minimum(hours.astype(np.int64), max(last - 1, 0))
        low = self.cumulated[zone, whole]
        high = self.cumulated[zone, np.minimum(whole + 1, last)]
        return np.asarray(low + (hours - whole) * (high - low))


def local_weekday(local_ms: Ints) -> Ints:
    """0 is Monday."""
    return np.asarray((local_ms // DAY_MS + _EPOCH_WEEKDAY) % 7)


def utc_offset_ms(zone: str, at_ms: Ints) -> Ints:
    """Local time less UTC at each moment (n,), ascending and in whole hours."""
    place = zone_of(zone)
    day = at_ms // DAY_MS
    every, row = np.unique(day, return_inverse=True)
    noon = [datetime.fromtimestamp(int(d) * 86_400 + 43_200, tz=UTC) for d in every]
    offset = [moment.astimezone(place).utcoffset() for moment in noon]
    return np.array([int(one.total_seconds()) * 1000 if one else 0 for one in offset])[row]
