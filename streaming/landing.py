"""Records into the tables they belong to, on the driver or inside an executor.

Order matters: facts, duplicates and quarantine first; then what is derived from facts. The commit
comes later, from whoever knows that the whole batch has landed. See `streaming.recovery` for what
happens when it stops half way.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from clickhouse import queries
from clickhouse.client import Client
from clickhouse.writer import insert
from streaming.batch import Batch, OffsetRange, sale_lines, with_topic_ids, without_stored
from streaming.enrich import Dimensions, enriched
from streaming.known import KnownEvents
from streaming.recovery import stored_in
from streaming.rows import (
    SECONDS,
    as_type,
    duplicate_rows,
    fact_rows,
    index_rows,
    quarantine_rows,
)
from streaming.schemas import FACTS
from streaming.velocity import velocity

_RELOAD_S = 60.0
_AT_MOST_EVERY_S = 1.0

HighWater = Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Landed:
    """A judged batch that is stored, and the seconds each step took."""

    batch: Batch
    seconds: Mapping[str, float]


class Stopwatch:
    """Adds the seconds since the last lap to a step's total."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - self._last
        self._last = now


class Landing:
    """Writes facts, duplicates, quarantine, the identity index and window sums. All events of one
    store must pass through one landing at a time, which a Kafka partition sees to."""

    def __init__(
        self,
        client: Client,
        *,
        deduplicate: bool = True,
        known: KnownEvents | None = None,
        high_water: HighWater | None = None,
        before_inserts: Callable[[], None] = lambda: None,
        on_stored: Callable[[pa.Table], None] = lambda _: None,
    ) -> None:
        """`high_water`: a batch that begins at or below it asks what is stored already.
        `before_inserts` raises when somebody else writes by now. `on_stored` is told of the counted
        events of each batch that were not stored before, once they and all sums are."""
        self.high_water = high_water or {}
        self.before_inserts = before_inserts
        self._on_stored = on_stored
        self.dimensions = Dimensions.empty()
        self._client = client
        self._deduplicate = deduplicate
        self._known = known
        self._dimensions_at = float("-inf")
        self._unknown = pa.array([], pa.string())
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="insert")

    def open(self, high_water: HighWater, dimensions: Dimensions) -> None:
        """What the warehouse held when it was recovered. `high_water`: a batch that begins at or
        below it asks what is stored already."""
        self.high_water = high_water
        self.dimensions = dimensions
        if self._known:
            self._known.open(high_water)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def land(self, decoded: pa.Table, ids: Mapping[str, uuid.UUID]) -> Landed:
        """Store decoded records whose topics have the UUIDs `ids`."""
        clock = Stopwatch()
        batch = Batch.of(
            with_topic_ids(decoded, ids), lookup=self._find if self._deduplicate else None
        )
        if self._known:
            self._known.judged(batch.ranges)
        clock.lap("judge")
        self.store(batch, clock)
        return Landed(batch, clock.seconds)

    def store(self, batch: Batch, clock: Stopwatch) -> Batch:
        """Store a judged batch: facts first, then what follows from them. Returns the part that an
        earlier try had not stored."""
        still_writer = self._pool.submit(self.before_inserts)
        fresh, suffix = self._not_stored_yet(batch)
        self.refresh_dimensions(fresh.winners)
        winners = enriched(fresh.winners, self.dimensions)
        clock.lap("enrich")
        still_writer.result()
        self._run(self._landings(fresh, winners, suffix))
        clock.lap("facts")
        self.before_inserts()
        self._run(self._derived(batch.ranges, winners, suffix))
        clock.lap("derived")
        self._on_stored(winners)
        return fresh

    def refresh_dimensions(self, winners: pa.Table) -> None:
        """Load the dimensions again when a product is seen for the first time that they lack, and
        now and then while there are such products: somebody may have loaded them since."""
        unknown = self.dimensions.unknown(winners["product_id"])
        if len(unknown) == 0:
            return
        new = unknown.filter(pc.invert(pc.is_in(unknown, self._unknown)))
        self._unknown = pa.concat_arrays([self._unknown, new])
        if time.monotonic() - self._dimensions_at > (_AT_MOST_EVERY_S if len(new) else _RELOAD_S):
            self.dimensions = Dimensions.load(self._client)
            self._dimensions_at = time.monotonic()

    def _find(self, event_keys: pa.Array) -> pa.Table:
        if self._known:
            return self._known.find(event_keys)
        return queries.find_events(self._client, event_keys)

    def _not_stored_yet(self, batch: Batch) -> tuple[Batch, str]:
        """The part of the batch that an earlier try did not store, and a suffix for its tokens."""
        doubtful = [
            (r.topic_id, r.partition, r.first, r.last)
            for r in batch.ranges
            if r.first <= self.high_water.get((r.topic_id, r.partition), -1)
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

    def _derived(
        self, every: tuple[OffsetRange, ...], winners: pa.Table, suffix: str
    ) -> list[Callable[[], int]]:
        """`winners` are those that were not stored before."""
        ranges = list(every)
        tasks = []
        if winners.num_rows and self._deduplicate:
            tasks.append(self._task("event_index", index_rows(winners), ranges, suffix))
        if (sales := sale_lines(winners)).num_rows:
            sums = as_type(velocity(sales), "window_start", SECONDS)
            tasks.append(self._task("velocity_5m_sums", sums, ranges, suffix))
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
