"""What a committed batch held, for metrics: counted on whole columns."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streaming.batch import Batch, OffsetRange

_MILLIS = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True, slots=True)
class Tally:
    """Records by (topic, outcome), refused ones by reason, and for each record the seconds from its
    arrival at the broker to the commit."""

    outcomes: dict[tuple[str, str], int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    latency_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, batch: Batch, *, committed_at_s: float | None = None) -> "Tally":
        """`committed_at_s` is in seconds since 1970, and now by default."""
        now_s = time.time() if committed_at_s is None else committed_at_s
        tables = {
            "counted": batch.winners,
            "duplicate": batch.duplicates,
            "refused": batch.refused,
        }
        outcomes = {
            (topic, outcome): count
            for outcome, table in tables.items()
            for topic, count in _counts(table["topic"])
        }
        waits = [_latency_s(table["arrival"], now_s) for table in tables.values()]
        return cls(outcomes, dict(_counts(batch.refused["reason"])), np.concatenate(waits))

    @classmethod
    def archived(cls, ranges: Iterable[OffsetRange]) -> "Tally":
        """Of ranges that went to the lake: their offsets, which are records, but for holes."""
        outcomes: dict[tuple[str, str], int] = {}
        for one in ranges:
            place = (one.topic, "archived")
            outcomes[place] = outcomes.get(place, 0) + one.last - one.first + 1
        return cls(outcomes)


def _counts(column: pa.ChunkedArray) -> Iterator[tuple[str, int]]:
    for entry in pc.value_counts(column).to_pylist():
        yield str(entry["values"]), int(entry["counts"])


def _latency_s(arrival: Any, now_s: float) -> npt.NDArray[np.float64]:
    """A broker's clock that is ahead of ours gives 0, never less."""
    arrival_ms = arrival.cast(_MILLIS, safe=False).cast(pa.int64()).to_numpy()
    waits: npt.NDArray[np.float64] = np.maximum(now_s - arrival_ms / 1000.0, 0.0)
    return waits
