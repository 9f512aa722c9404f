"""What the lake holds of every partition, from names alone."""

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

from lake.client import Lake
from lake.paths import RAW_PREFIX, ObjectName
from tillstream.contracts.topics import Topic
from tillstream.errors import IntegrityError

_FOOTER_READERS = 16


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """Offsets from `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one incarnation of a topic."""

    topic: Topic
    topic_id: str
    number: int


@dataclass(frozen=True, slots=True)
class PartitionCoverage:
    """The offsets archived of one partition.

    `ranges` are merged and ascending; `gaps` are the offsets between them; `overlaps` the offsets
    found in more than one object (a regrouped retry; harmless, as readers count them once).
    """

    partition: Partition
    ranges: tuple[OffsetRange, ...]
    gaps: tuple[OffsetRange, ...]
    overlaps: tuple[OffsetRange, ...]
    objects: int
    size_bytes: int

    @property
    def records(self) -> int:
        """Distinct offsets archived."""
        return sum(len(one) for one in self.ranges)


@dataclass(frozen=True, slots=True)
class Damage:
    """An object that does not hold the records its name promises; `rows` None is unreadable."""

    name: str
    expected_rows: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """`foreign` are objects under raw-data/ that the archive did not write: report, don't read.

    `damaged` is None when footers were not read.
    """

    partitions: tuple[PartitionCoverage, ...]
    foreign: tuple[str, ...]
    damaged: tuple[Damage, ...] | None


def coverage(lake: Lake, *, count_rows: bool = False) -> Coverage:
    """Read the listing; with `count_rows` also every object's footer, several at a time.

    Raises ServiceError when the lake cannot be listed.
    """
    by_partition: defaultdict[Partition, list[tuple[ObjectName, int]]] = defaultdict(list)
    objects, foreign = archived(lake)
    for name, size_bytes in objects:
        by_partition[Partition(name.topic, name.topic_id, name.partition)].append(
            (name, size_bytes)
        )
    partitions = tuple(
        _cover(partition, members) for partition, members in sorted(by_partition.items())
    )
    damaged = _damaged(lake, [name for name, _ in objects]) if count_rows else None
    return Coverage(partitions, foreign, damaged)


def archived(lake: Lake) -> tuple[tuple[tuple[ObjectName, int], ...], tuple[str, ...]]:
    """(every archived object and its bytes, the paths of foreign objects)."""
    objects = []
    foreign = []
    for info in lake.list(RAW_PREFIX):
        try:
            objects.append((ObjectName.parse(info.name), info.size_bytes))
        except IntegrityError:
            foreign.append(info.name)
    return tuple(objects), tuple(foreign)


def merge(ranges: Iterable[OffsetRange]) -> tuple[OffsetRange, ...]:
    """The same offsets as the fewest ascending ranges."""
    merged: list[OffsetRange] = []
    for one in sorted(ranges):
        if merged and one.first <= merged[-1].last + 1:
            merged[-1] = OffsetRange(merged[-1].first, max(merged[-1].last, one.last))
        else:
            merged.append(one)
    return tuple(merged)


def _cover(partition: Partition, members: list[tuple[ObjectName, int]]) -> PartitionCoverage:
    ranges = sorted(OffsetRange(name.first_offset, name.last_offset) for name, _ in members)
    merged = merge(ranges)
    return PartitionCoverage(
        partition=partition,
        ranges=merged,
        gaps=tuple(
            OffsetRange(before.last + 1, after.first - 1) for before, after in pairwise(merged)
        ),
        overlaps=_overlaps(ranges),
        objects=len(members),
        size_bytes=sum(size_bytes for _, size_bytes in members),
    )


def _overlaps(ranges: list[OffsetRange]) -> tuple[OffsetRange, ...]:
    shared = []
    seen_to = -1
    for one in ranges:
        if one.first <= seen_to:
            shared.append(OffsetRange(one.first, min(one.last, seen_to)))
        seen_to = max(seen_to, one.last)
    return merge(shared)


def _damaged(lake: Lake, names: list[ObjectName]) -> tuple[Damage, ...]:
    def inspect(name: ObjectName) -> Damage | None:
        rows: int | None
        try:
            rows = lake.row_count(str(name))
        except IntegrityError:
            rows = None
        return None if rows == name.rows else Damage(str(name), name.rows, rows)

    with ThreadPoolExecutor(_FOOTER_READERS) as pool:
        return tuple(found for found in pool.map(inspect, names) if found is not None)
