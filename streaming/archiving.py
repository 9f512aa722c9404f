"""The lake, kept beside the warehouse by the same query: every record once, in few large objects.

Records arrive decoded and wait in memory until a flush. Memory is only a short cut: whatever is
not archived (a start, a failed flush, a lake that was away for an hour) is a gap between how far
the lake is and how far the stream has read, and the next flush reads gaps from Kafka again.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from clickhouse import queries
from clickhouse.client import Client
from clickhouse.writer import insert
from lake.archive import RECORD_SCHEMA, archive
from lake.client import Lake
from lake.coverage import coverage
from streaming.batch import OffsetRange, offset_ranges, with_topic_ids
from streaming.failures import why
from streaming.rows import commit_rows, cuts_after
from streaming.sinks import BatchReport
from tillstream.errors import IntegrityError

log = logging.getLogger("tillstream.stream")

LAKE = "lake"
# A flush comes early when this much waits, so that a burst does not fill the memory.
_FULL_BYTES = 128 << 20
_LONGEST_DELAY_S = 30.0
_NICE = 10

# (topic_id, partition) -> an offset
Offsets = dict[tuple[str, int], int]
# Archives the records of these ranges from Kafka, and names what it has archived, piece by piece.
Fill = Callable[[Sequence[OffsetRange]], Iterator[tuple[OffsetRange, ...]]]
# For each partition of today's topics, where the lake goes on; given how far it is.
StartingAt = Callable[[Sequence[queries.Cut]], Mapping[tuple[str, str, int], int]]


class Archiver:
    """Never holds up the stream: `put` returns at once, and a lake that is away is tried again
    until it is back. Only lost records (`fatal`) stop it."""

    def __init__(
        self,
        client: Client,
        lake: Lake,
        *,
        trigger_s: float,
        fill: Fill,
        starting_at: StartingAt,
        on_report: Callable[[BatchReport], None] = lambda _: None,
        on_state: Callable[[str, str, str], None] = lambda *_: None,
    ) -> None:
        self.fatal: IntegrityError | None = None
        self._client = client
        self._lake = lake
        self._trigger_s = trigger_s
        self._fill = fill
        self._starting_at = starting_at
        self._on_report = on_report
        self._on_state = on_state
        self._guard = threading.Lock()
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._seen: Offsets = {}
        self._cuts: dict[tuple[str, int], queries.Cut] | None = None
        self._flushes = 0
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="archiver", daemon=True)

    @property
    def waiting_records(self) -> int:
        """How many records are in memory, to be archived."""
        with self._guard:
            return sum(table.num_rows for table in self._waiting)

    def open(self, starting: Mapping[tuple[str, int], int]) -> None:
        """The stream is about to read from `starting` (by topic_id and partition) on."""
        with self._guard:
            for place, offset in starting.items():
                self._seen[place] = max(self._seen.get(place, 0), offset)
        if not self._thread.is_alive():
            self._thread.start()

    def put(self, decoded: pa.Table, ids: Mapping[str, UUID]) -> None:
        """Take the records of a batch. Those read a second time, after a restart, are left out.
        Raises `fatal`."""
        records = with_topic_ids(decoded, ids)
        ranges = offset_ranges(records)
        with self._guard:
            new = _beyond(records, ranges, self._seen)
            self._advance(ranges)
            self._waiting.append(new)
            self._waiting_bytes += new.nbytes
            is_full = self._waiting_bytes > _FULL_BYTES
        if is_full:
            self._wake.set()

    def put_ranges(self, ranges: Sequence[OffsetRange]) -> None:
        """The stream has read these records elsewhere; they will be read again to be archived.
        Raises `fatal`."""
        with self._guard:
            self._advance(ranges)

    def close(self) -> None:
        """Archive what waits and end."""
        if self._thread.is_alive():
            self._closing = True
            self._wake.set()
            self._thread.join()

    def _advance(self, ranges: Sequence[OffsetRange]) -> None:
        if self.fatal:
            raise self.fatal
        for r in ranges:
            place = r.topic_id, r.partition
            self._seen[place] = max(self._seen.get(place, 0), r.last + 1)

    def _run(self) -> None:
        _give_way()
        delay_s = 1.0
        wait_s = 0.0  # the first round only looks how far the lake is
        while self.fatal is None:
            self._wake.wait(wait_s)
            self._wake.clear()
            last = self._closing
            try:
                if self._cuts is None:
                    self._load()
                if wait_s or last:
                    self.flush()
                self._on_state(LAKE, "running", "")
                wait_s, delay_s = self._trigger_s, 1.0
            except IntegrityError as exc:
                self.fatal = exc
                self._on_state(LAKE, "failed", str(exc))
            except Exception as exc:  # else nobody would archive any more
                reason = why(exc)
                log.warning("lake stopped: %s; trying again in %.0f s", reason, delay_s)
                self._on_state(LAKE, "retrying", reason)
                wait_s, delay_s = delay_s, min(delay_s * 2, _LONGEST_DELAY_S)
            if last:
                return

    def _load(self) -> None:
        """What is archived is what the lake lists; the commits in the warehouse only spare others
        from listing it, and are renewed at each start."""
        self._lake.check()
        found = archived_cuts(self._lake, queries.committed_cuts(self._client, LAKE))
        insert(self._client, "stream_commits", commit_rows(LAKE, found, batch_id=-1))
        self._cuts = {(cut.topic_id, cut.partition): cut for cut in found}

    def flush(self) -> None:
        """Archive everything the stream has read so far. Whatever it raises, nothing is lost: what
        waited is a gap then."""
        with self._guard:
            waiting, self._waiting = self._waiting, []
            self._waiting_bytes = 0
            seen = dict(self._seen)
        began = time.perf_counter()
        records = pa.concat_tables(waiting) if waiting else None
        held = offset_ranges(records) if records is not None else ()
        rows = 0
        done: list[OffsetRange] = []
        for archived in self._fill(self._gaps(seen, held)):
            self._commit(archived)
            done += archived
            rows += sum(r.last - r.first + 1 for r in archived)
        if records is not None and records.num_rows:
            rows += sum(one.rows for one in archive(self._lake, as_records(records)))
            self._commit(held)
            done += held
        if rows:
            self._flushes += 1
            seconds = {"archive": time.perf_counter() - began}
            self._on_report(
                BatchReport(self._flushes, counted=rows, seconds=seconds, ranges=tuple(done))
            )

    def _gaps(self, seen: Offsets, held: Sequence[OffsetRange]) -> list[OffsetRange]:
        """What was read but is neither archived nor `held` in memory."""
        assert self._cuts is not None
        first_held = {(r.topic_id, r.partition): r.first for r in held}
        gaps = []
        starting = self._starting_at(list(self._cuts.values()))
        for (topic, topic_id, partition), start in starting.items():
            end = seen.get((topic_id, partition), start)
            end = min(end, first_held.get((topic_id, partition), end))
            if start < end:
                gaps.append(OffsetRange(topic, topic_id, partition, start, end - 1))
        return gaps

    def _commit(self, archived: Sequence[OffsetRange]) -> None:
        assert self._cuts is not None
        cuts = cuts_after(archived)
        self._cuts.update({(cut.topic_id, cut.partition): cut for cut in cuts})
        rows = commit_rows(LAKE, cuts, batch_id=self._flushes)
        insert(self._client, "stream_commits", rows)


def _give_way() -> None:
    """Let the threads of this process that store facts go first: nobody waits for the lake."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _beyond(records: pa.Table, ranges: Sequence[OffsetRange], seen: Offsets) -> pa.Table:
    """The records, of `ranges`, whose offsets have not been seen."""
    for r in ranges:
        floor = seen.get((r.topic_id, r.partition), 0)
        if r.first < floor:
            here = pc.and_(
                pc.equal(records["topic_id"], r.topic_id),
                pc.equal(records["partition"], r.partition),
            )
            known = pc.and_(here, pc.less(records["offset"], floor))
            records = records.filter(pc.invert(known))
    return records


def archived_cuts(lake: Lake, committed: Sequence[queries.Cut]) -> list[queries.Cut]:
    """How far each partition is archived without a gap, at least as far as was committed.

    Beginning where the objects end, not where the last commit was, keeps a retry from writing
    objects that overlap.
    """
    found = {(cut.topic_id, cut.partition): cut for cut in committed}
    for held in coverage(lake).partitions:
        key = (held.partition.topic_id, held.partition.number)
        floor = found[key].next_offset if key in found else held.ranges[0].first
        for piece in held.ranges:
            if piece.first <= floor <= piece.last:
                floor = piece.last + 1
        found[key] = queries.Cut(held.partition.topic.value, key[0], key[1], floor)
    return list(found.values())


def as_records(records: pa.Table) -> pa.Table:
    """Decoded rows in the lake's layout: the record as received first, then what it says."""
    first = list(RECORD_SCHEMA.names)
    arrival = records["arrival"].cast(pa.timestamp("ms", tz="UTC"), safe=False)
    at = records.schema.get_field_index("arrival")
    table = records.set_column(at, "arrival", arrival)
    rest = [name for name in table.column_names if name not in first]
    return pa.table(
        [table[name] for name in (*first, *rest)],
        schema=pa.schema([*RECORD_SCHEMA, *(table.schema.field(name) for name in rest)]),
    )
