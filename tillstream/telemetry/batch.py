"""What one batch did, in the words that metrics, logs and traces share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Range(Protocol):
    """Offsets first..last (both included) of one partition of a topic."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """One committed batch. `outcomes` counts records by (topic, outcome), `reasons` the refused
    ones by reason; `latency_s` holds, for some or all records, the seconds from arrival to commit.
    `seconds` are those of each step; steps need not follow one another, so they may add up to more
    than `total_s`."""

    query: str
    batch_id: int
    ended_at_s: float  # since 1970
    total_s: float
    ranges: tuple[Range, ...] = ()
    outcomes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    latency_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def correlation(self) -> str:
        return correlation(self.query, self.batch_id)


def correlation(query: str, batch_id: int) -> str:
    """Names a batch in logs and traces."""
    return f"{query}-{batch_id}"


def offsets(span: Range) -> str:
    """`topic-partition:first-last`."""
    return f"{span.topic}-{span.partition}:{span.first}-{span.last}"
