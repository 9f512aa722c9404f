"""Read the archive back, every record once, to rebuild a warehouse."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.archive import RECORD_SCHEMA
from lake.client import Lake
from lake.coverage import Partition, archived
from lake.failures import reading
from lake.paths import ObjectName
from tillstream.contracts.topics import Topic
from tillstream.errors import IntegrityError


def read_ranges(
    lake: Lake, *, batch_rows: int, topics: Collection[Topic] | None = None
) -> Iterator[pa.Table]:
    """Yield every archived record once, as tables of RECORD_SCHEMA of at most `batch_rows` rows
    (or one row a partition, when there are more partitions than that).

    Within a partition records come in offset order, across all batches. Across partitions they
    come by arrival: no batch holds a record that arrived before one of an earlier batch, as far
    as each partition's own offset order allows. Within a batch each partition's records stand
    together. Memory stays within about `batch_rows` records, whatever the size of the lake.

    Offsets missing from the lake are skipped: `coverage` tells of them. Raises IntegrityError,
    naming the object, when an object does not hold exactly the offsets its name promises, and
    ServiceError when the lake cannot be read.
    """
    by_partition: defaultdict[Partition, list[ObjectName]] = defaultdict(list)
    for name, _ in archived(lake)[0]:
        if topics is None or name.topic in topics:
            by_partition[Partition(name.topic, name.topic_id, name.partition)].append(name)
    # A buffer stops growing once it reaches its share, so it may end up at twice that, less one.
    share = max(1, (batch_rows // max(1, len(by_partition)) + 1) // 2)
    cursors = [
        _Cursor(_records(lake, _reading_order(names), rows=share), share)
        for _, names in sorted(by_partition.items())
    ]
    while cursors := [cursor for cursor in cursors if cursor.fill()]:
        # Beyond this arrival, some partition's next record may not be in memory yet.
        horizon_ms = min(cursor.last_arrival_ms for cursor in cursors)
        yield pa.concat_tables(cursor.take_until(horizon_ms) for cursor in cursors)


@dataclass(slots=True)
class _Cursor:
    """The next records of one partition: a buffer of at least `rows` while there are more."""

    source: Iterator[pa.Table]
    rows: int
    buffer: pa.Table = field(default_factory=RECORD_SCHEMA.empty_table)
    # Arrivals made non-decreasing, so that a broker clock set back cannot hold a record up.
    arrivals_ms: np.ndarray[tuple[int], np.dtype[np.int64]] = field(
        default_factory=lambda: np.empty(0, np.int64)
    )
    latest_ms: int = np.iinfo(np.int64).min

    @property
    def last_arrival_ms(self) -> int:
        return int(self.arrivals_ms[-1])

    def fill(self) -> bool:
        """Refill an empty buffer; False at the end of the partition."""
        if self.buffer.num_rows:
            return True
        parts: list[pa.Table] = []
        for part in self.source:
            parts.append(part)
            if sum(one.num_rows for one in parts) >= self.rows:
                break
        if not parts:
            return False
        self.buffer = pa.concat_tables(parts)
        arrivals = self.buffer["arrival"].cast(pa.int64()).to_numpy()
        self.arrivals_ms = np.maximum.accumulate(np.maximum(arrivals, self.latest_ms))
        self.latest_ms = self.last_arrival_ms
        return True

    def take_until(self, horizon_ms: int) -> pa.Table:
        """Remove and return the records that arrived up to and at `horizon_ms`."""
        count = int(np.searchsorted(self.arrivals_ms, horizon_ms, side="right"))
        taken = self.buffer.slice(0, count)
        self.buffer = self.buffer.slice(count)
        self.arrivals_ms = self.arrivals_ms[count:]
        return taken


def _reading_order(names: list[ObjectName]) -> list[ObjectName]:
    """By first offset, the longest first: what a longer one holds need not be read again."""
    return sorted(names, key=lambda name: (name.first_offset, -name.last_offset))


def _records(lake: Lake, names: list[ObjectName], *, rows: int) -> Iterator[pa.Table]:
    """The records of one partition in offset order, each offset once, by up to `rows`."""
    next_offset = -1
    for name in names:
        if name.last_offset < next_offset:
            continue
        for part in _object(lake, name, rows=rows):
            fresh = part.filter(pc.field("offset") >= next_offset)
            if fresh.num_rows:
                yield fresh
        next_offset = name.last_offset + 1


def _object(lake: Lake, name: ObjectName, *, rows: int) -> Iterator[pa.Table]:
    columns = RECORD_SCHEMA.names
    expected = name.first_offset
    with lake.open(str(name)) as parquet:
        missing = set(columns) - set(parquet.schema_arrow.names)
        if missing:
            raise IntegrityError(f"lake object {name} lacks columns {sorted(missing)}")
        batches = parquet.iter_batches(batch_size=rows, columns=columns)
        while True:
            with reading(url=lake.url, name=str(name)):
                batch = next(batches, None)
                if batch is None:
                    break
                part = pa.Table.from_batches([batch]).select(columns).cast(RECORD_SCHEMA)
            offsets = part["offset"].to_numpy()
            if not np.array_equal(offsets, np.arange(expected, expected + len(offsets))):
                raise IntegrityError(f"lake object {name} breaks off at offset {expected}")
            expected += len(offsets)
            yield part
    if expected != name.last_offset + 1:
        raise IntegrityError(f"lake object {name} ends before offset {expected}")
