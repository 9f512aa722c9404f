"""How far the stream is at each moment, from the commits it writes beside its rows."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tillstream.bench.reading import Poller, Reader
from tillstream.contracts.topics import HISTORY_PREFIX
from tillstream.errors import ServiceError
from tillstream.settings import WarehouseSettings

LIVE, LAKE = "live", "lake"

# Not of a past that was filled in: it was in no topic.
_COMMITS = (
    "SELECT toString(query) AS query, toString(topic_id) AS topic_id, partition, next_offset,"
    " toUnixTimestamp64Micro(committed_at) AS at_us FROM stream_commits"
    f" WHERE NOT startsWith(topic_id, '{HISTORY_PREFIX}') ORDER BY at_us"
)
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Point:
    """`records` of all partitions together were stored at `at_s`, seconds since 1970."""

    at_s: float
    records: int


@dataclass(frozen=True, slots=True)
class Steady:
    """Between the end of the warm-up and the last commit."""

    records: int
    seconds: float


@dataclass(slots=True)
class Curve:
    """Records that one query stored over time. Topics are taken to begin at offset 0."""

    points: list[Point] = field(default_factory=list)
    _cuts: dict[tuple[str, int], int] = field(default_factory=dict)

    def add(self, commits: Iterable[Mapping[str, Any]]) -> None:
        """Commits in order of time, those known already among them or not."""
        for row in commits:
            key = (row["topic_id"], row["partition"])
            next_offset = int(row["next_offset"])
            if next_offset <= self._cuts.get(key, 0):
                continue
            self._cuts[key] = next_offset
            point = Point(int(row["at_us"]) / 1e6, sum(self._cuts.values()))
            if self.points and self.points[-1].at_s == point.at_s:
                self.points[-1] = point
            else:
                self.points.append(point)

    @property
    def records(self) -> int:
        return self.points[-1].records if self.points else 0


def steady(points: Sequence[Point], *, warmup_batches: int) -> Steady | None:
    """What follows the first `warmup_batches` commits; None when nothing does."""
    if len(points) <= warmup_batches:
        return None
    first, last = points[warmup_batches - 1], points[-1]
    return Steady(last.records - first.records, last.at_s - first.at_s)


class CommitWatch:
    """Reads the commits every `look_s` while its `with` block runs.

    The engine drops older commits of a partition when it merges, so now and then one is missed;
    the times are the stream's own, and exact.
    """

    def __init__(
        self,
        warehouse: WarehouseSettings,
        *,
        look_s: float = _LOOK_S,
        on_look: Callable[[], None] = lambda: None,
    ) -> None:
        self._curves = {LIVE: Curve(), LAKE: Curve()}
        self._on_look = on_look
        self._poller = Poller(warehouse, self._look, period_s=look_s)

    def points(self, query: str = LIVE) -> list[Point]:
        """Raises ServiceError when the warehouse stopped answering."""
        self._poller.check()
        return list(self._curves[query].points)

    def stored(self, query: str = LIVE) -> int:
        self._poller.check()
        return self._curves[query].records

    def wait(
        self,
        records: int,
        *,
        query: str = LIVE,
        stall_s: float,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Point:
        """The moment when `records` were stored. Raises ServiceError when nothing moves for
        `stall_s`."""
        stored, moved = -1, time.monotonic()
        while (now := self.stored(query)) < records:
            if now > stored:
                stored, moved = now, time.monotonic()
                on_progress(now)
            if time.monotonic() - moved > stall_s:
                raise ServiceError(
                    f"{query} stood still at {stored:,} of {records:,} records for {stall_s:.0f} s",
                    hint="the machine may be too busy to measure anything: see `uptime`",
                )
            time.sleep(_LOOK_S)
        return next(point for point in self.points(query) if point.records >= records)

    def _look(self, reader: Reader) -> None:
        rows = reader.rows(_COMMITS)
        for query, curve in self._curves.items():
            curve.add(row for row in rows if row["query"] == query)
        self._on_look()

    def __enter__(self) -> Self:
        self._poller.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._poller.__exit__(*exc)
