"""One batch into the warehouse: exactly once in effect.

Order matters and is the whole guarantee: facts, duplicates and quarantine first; then what is
derived from facts; then the outboxes; the commit last. See `streaming.recovery` for what happens
when it stops half way.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from clickhouse import queries
from clickhouse.client import Client
from clickhouse.writer import insert
from streaming.anomalies import History, find_anomalies
from streaming.batch import Batch, OffsetRange, with_topic_ids, without_stored
from streaming.enrich import Dimensions, enriched
from streaming.recovery import recover, stored_in
from streaming.schemas import FACTS, TRACE
from streaming.velocity import velocity
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError

LIVE = "live"
_RELOAD_S = 60.0
_MILLIS = pa.timestamp("ms", tz="UTC")
_SECONDS = pa.timestamp("s", tz="UTC")


class Follower(Protocol):
    """Sees each batch after it is stored and before it is committed; after a crash, again."""

    def open(self) -> None:
        """Load what was known when the stream last stopped."""

    def __call__(self, batch: Batch, dimensions: Dimensions) -> None: ...


class TopicRecreated(ServiceError):
    """A topic was deleted and created again under the same name: its offsets start over."""


@dataclass(slots=True)
class BatchReport:
    """What became of one batch, and the seconds each step took."""

    batch_id: int
    counted: int = 0
    duplicates: int = 0
    refused: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def records(self) -> int:
        return self.counted + self.duplicates + self.refused


class WarehouseSink:
    """The only writer of facts."""

    def __init__(
        self,
        client: Client,
        *,
        query: str = LIVE,
        deduplicate: bool = True,
        followers: tuple[Follower, ...] = (),
    ) -> None:
        self._client = client
        self._query = query
        self._deduplicate = deduplicate
        self._followers = followers
        self._dimensions = Dimensions.empty()
        self._dimensions_at = 0.0
        self._unknown: frozenset[str] = frozenset()
        self._history = History()
        self._high_water: Mapping[tuple[str, int], int] = {}
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="insert")

    def open(self) -> None:
        """Recover, then load what batches are judged by. Call before the first batch and after
        every failed one."""
        self._high_water = recover(self._client, self._query).high_water
        self._dimensions = Dimensions.load(self._client)
        self._history = History.load(self._client)
        for follower in self._followers:
            follower.open()

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def write(
        self, decoded: pa.Table, ids: Mapping[str, uuid.UUID], *, batch_id: int
    ) -> BatchReport:
        """Store one batch of decoded records whose topics have the UUIDs `ids`."""
        report = BatchReport(batch_id)
        if decoded.num_rows == 0:
            return report
        clock = _Stopwatch(report.seconds)
        lookup = self._find if self._deduplicate else None
        batch = Batch.of(with_topic_ids(decoded, ids), lookup=lookup)
        clock.lap("judge")

        fresh, suffix = self._not_stored_yet(batch)
        self._refresh_dimensions(fresh.winners)
        winners = enriched(fresh.winners, self._dimensions)
        clock.lap("enrich")

        self._run(self._landings(fresh, winners, suffix))
        clock.lap("facts")
        self._run(self._derived(batch, winners, suffix))
        clock.lap("derived")
        for follower in self._followers:
            follower(batch, self._dimensions)
        clock.lap("follow")
        self._commit(batch.ranges, batch_id)
        clock.lap("commit")
        report.counted = batch.winners.num_rows
        report.duplicates = batch.duplicates.num_rows
        report.refused = batch.refused.num_rows
        return report

    def _refresh_dimensions(self, winners: pa.Table) -> None:
        """Load the dimensions again when a product is seen for the first time that they lack, and
        now and then while there are such products: somebody may have loaded them since."""
        unknown = self._dimensions.unknown(winners["product_id"])
        is_due = time.monotonic() - self._dimensions_at > _RELOAD_S
        if unknown - self._unknown or (unknown and is_due):
            self._dimensions = Dimensions.load(self._client)
            self._dimensions_at = time.monotonic()
            self._unknown |= unknown

    def _find(self, event_keys: pa.Array) -> pa.Table:
        return queries.find_events(self._client, event_keys)

    def _not_stored_yet(self, batch: Batch) -> tuple[Batch, str]:
        """The part of the batch that an earlier try did not store, and a suffix for its tokens."""
        doubtful = [
            (r.topic_id, r.partition, r.first, r.last)
            for r in batch.ranges
            if r.first <= self._high_water.get((r.topic_id, r.partition), -1)
        ]
        if not doubtful:
            return batch, ""
        stored = stored_in(self._client, doubtful)
        fresh = Batch(
            batch.ranges,
            without_stored(batch.winners, stored),
            without_stored(batch.duplicates, stored),
            without_stored(batch.refused, stored),
        )
        return fresh, f":rest-{uuid.uuid4().hex}"

    def _landings(self, fresh: Batch, winners: pa.Table, suffix: str) -> list[Callable[[], int]]:
        tasks = []
        for topic, (table, columns) in FACTS.items():
            rows = winners.filter(pc.equal(winners["topic"], topic.value))
            if rows.num_rows:
                ranges = [r for r in fresh.ranges if r.topic == topic.value]
                tasks.append(self._task(table, fact_rows(rows, columns), ranges, suffix))
        ranges = list(fresh.ranges)
        if fresh.duplicates.num_rows:
            rows = duplicate_rows(fresh.duplicates)
            tasks.append(self._task("duplicates", rows, ranges, suffix))
        if fresh.refused.num_rows:
            rows = quarantine_rows(fresh.refused)
            tasks.append(self._task("quarantine", rows, ranges, suffix))
        return tasks

    def _derived(self, batch: Batch, winners: pa.Table, suffix: str) -> list[Callable[[], int]]:
        """`winners` are those of `batch` that were not stored before."""
        ranges = list(batch.ranges)
        tasks = []
        if winners.num_rows:
            tasks.append(self._task("event_index", index_rows(winners), ranges, suffix))
        if (sales := _sales(winners)).num_rows:
            sums = _as_type(velocity(sales), "window_start", _SECONDS)
            tasks.append(self._task("velocity_5m_sums", sums, ranges, suffix))
        # Of the whole batch: a try that died may have stored its facts and not their marks, which
        # nothing else would derive again. The same mark twice is one.
        if (judged := _sales(batch.winners)).num_rows:
            found = find_anomalies(judged, self._history)
            if found.num_rows:
                tasks.append(lambda: insert(self._client, "anomalies", found))
        return tasks

    def _task(
        self, table: str, rows: pa.Table, ranges: list[OffsetRange], suffix: str
    ) -> Callable[[], int]:
        token = ",".join(str(r) for r in ranges) + suffix
        return lambda: insert(self._client, table, rows, token=token)

    def _run(self, tasks: list[Callable[[], int]]) -> None:
        """All at once; waits for every one, so that none is under way when an error is raised."""
        futures: list[Future[int]] = [self._pool.submit(task) for task in tasks]
        failures = [error for future in futures if (error := future.exception())]
        if failures:
            raise failures[0]

    def _commit(self, ranges: tuple[OffsetRange, ...], batch_id: int) -> None:
        rows = commit_rows(self._query, cuts_after(ranges), batch_id=batch_id)
        insert(self._client, "stream_commits", rows)


def cuts_after(ranges: Iterable[OffsetRange]) -> list[queries.Cut]:
    """How far the stream is once these ranges are stored."""
    return [queries.Cut(r.topic, r.topic_id, r.partition, r.last + 1) for r in ranges]


def commit_rows(query: str, cuts: Sequence[queries.Cut], *, batch_id: int) -> pa.Table:
    """Rows of `stream_commits`: one a partition."""
    n = len(cuts)
    now_us = time.time_ns() // 1000
    return pa.table(
        {
            "query": pa.array([query] * n, pa.string()),
            "topic": pa.array([cut.topic for cut in cuts], pa.string()),
            "topic_id": pa.array([cut.topic_id for cut in cuts], pa.string()),
            "partition": pa.array([cut.partition for cut in cuts], pa.int32()),
            "next_offset": pa.array([cut.next_offset for cut in cuts], pa.int64()),
            "batch_id": pa.array([batch_id] * n, pa.int64()),
            "committed_at": pa.array([now_us] * n, pa.timestamp("us", tz="UTC")),
        }
    )


def fact_rows(rows: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    """Winners of one topic as rows of its fact table."""
    names = {**columns, **TRACE}
    table = pa.table({name: rows[source] for name, source in names.items()})
    for name in ("event_time", "arrival", "effective_from", "effective_to"):
        table = _as_type(table, name, _MILLIS)
    table = _as_type(table, "window_start", _SECONDS)
    return _as_type(table, "event_key", pa.binary(16))


def index_rows(winners: pa.Table) -> pa.Table:
    rows = winners.select(["event_key", "arrival", "topic_id", "partition", "offset"])
    return _as_type(_as_type(rows, "arrival", _MILLIS), "event_key", pa.binary(16))


def duplicate_rows(duplicates: pa.Table) -> pa.Table:
    rows = duplicates.select(
        [
            *("topic", "topic_id", "partition", "offset", "arrival", "event_time", "store_id"),
            *("identity", "event_key", "winner_topic_id", "winner_partition", "winner_offset"),
            "value",
        ]
    )
    for name in ("event_time", "arrival"):
        rows = _as_type(rows, name, _MILLIS)
    return _as_type(rows, "event_key", pa.binary(16))


def quarantine_rows(refused: pa.Table) -> pa.Table:
    rows = refused.select(
        [
            *("topic", "topic_id", "partition", "offset", "arrival"),
            *("reason", "detail", "key", "value"),
        ]
    )
    return _as_type(rows, "arrival", _MILLIS)


def _sales(winners: pa.Table) -> pa.Table:
    return winners.filter(pc.equal(winners["topic"], Topic.SALES.value))


def _as_type(table: pa.Table, name: str, type_: pa.DataType) -> pa.Table:
    at = table.schema.get_field_index(name)
    if at < 0:
        return table
    return table.set_column(at, name, pc.cast(table[name], type_, safe=False))


class _Stopwatch:
    """Adds the seconds since the last lap to a step's total."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self._seconds[step] = self._seconds.get(step, 0.0) + now - self._last
        self._last = now
