"""Batches landed where they were decoded: each executor writes its Kafka partitions itself, and
the driver sees only what its followers need. The way to go when one process cannot hold a batch.

A Kafka partition is one task, and all events of a store are in one partition, so every task can
judge its own records. Only the driver can put right what a task left half done, and only while
nobody writes. So a task is never tried again by itself: when one fails, or its executor dies, the
batch fails once all its tasks have ended, and the stream recovers as from any interruption.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from clickhouse.client import Client, connect
from lake.archive import archive
from lake.client import connect as connect_lake
from producers.topics import TopicInspector
from streaming.archiving import Archiver, as_records
from streaming.batch import Batch, OffsetRange, offset_ranges, with_topic_ids
from streaming.enrich import Dimensions
from streaming.fencing import require_writer
from streaming.jobs import GAP_RECORDS, Destination, Source, in_pieces
from streaming.landing import HighWater, Landed, Landing, Stopwatch
from streaming.schemas import DECODED, MONEY, TIME
from streaming.sinks import BatchReport, WarehouseSink, must_still_be
from tillstream.errors import IntegrityError, ServiceError
from tillstream.settings import KafkaSettings, LakeSettings, Settings, WarehouseSettings

log = logging.getLogger("tillstream.stream")

_COUNTED, _DUPLICATE, _REFUSED = "counted", "duplicate", "refused"

# A task that fails returns one row with this column alone: what went wrong, as JSON.
_FAILURE = pa.field("failure", pa.string())

# What a task returns of each record. Bytes, reason and detail only of refused ones.
_LANDED = pa.schema(
    [
        _FAILURE,
        ("outcome", pa.string()),
        ("topic", pa.string()),
        ("topic_id", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("arrival", TIME),
        ("store_id", pa.string()),
        ("product_id", pa.string()),
        ("event_time", TIME),
        ("kind", pa.string()),
        ("quantity", pa.int32()),
        ("quantity_on_hand", pa.int32()),
        ("revenue", MONEY),
        ("unit_price", MONEY),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)
_OF_REFUSED = ("reason", "detail", "key", "value")

_ARCHIVED = pa.schema(
    [
        _FAILURE,
        ("topic", pa.string()),
        ("topic_id", pa.string()),
        ("partition", pa.int32()),
        ("first", pa.int64()),
        ("last", pa.int64()),
    ]
)


Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class LandTask:
    """Lands one Kafka partition of a batch, inside an executor. `token` is the writer's."""

    warehouse: WarehouseSettings
    kafka: KafkaSettings
    ids: Mapping[str, UUID]
    high_water: HighWater
    deduplicate: bool
    token: int

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        return _told(self._land, batches, _LANDED)

    def _land(self, decoded: pa.Table) -> pa.Table:
        context = TaskContext.get()
        if context is not None and context.attemptNumber() > 0:
            raise ServiceError("an executor died, or could not read Kafka: the batch is done again")
        must_still_be(_inspector(self.kafka), self.ids)
        landing = _landing(self.warehouse, self.deduplicate, self.token)
        landing.high_water = self.high_water
        return as_landed(landing.land(decoded, self.ids).batch)


@dataclass(frozen=True, slots=True)
class ArchiveTask:
    """Archives one Kafka partition of a gap, inside an executor. Twice does no harm."""

    lake: LakeSettings
    lake_url: str
    kafka: KafkaSettings
    ids: Mapping[str, UUID]

    def __call__(self, batches: Batches) -> Iterator[pa.RecordBatch]:
        return _told(self._archive, batches, _ARCHIVED)

    def _archive(self, decoded: pa.Table) -> pa.Table:
        must_still_be(_inspector(self.kafka), self.ids)
        records = with_topic_ids(decoded, self.ids)
        archive(connect_lake(self.lake, url=self.lake_url), as_records(records))
        rows = [
            {field.name: getattr(r, field.name) for field in _ARCHIVED if field != _FAILURE}
            for r in offset_ranges(records)
        ]
        return pa.Table.from_pylist(rows, schema=_ARCHIVED)


def _told(
    work: Callable[[pa.Table], pa.Table], batches: Batches, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """What `work` makes of a task's records; or the row that says what went wrong. To Spark a
    failed task is then like any other: it is not tried again, and its neighbours are left to end
    what they are writing."""
    try:
        decoded = pa.Table.from_batches(batches, schema=DECODED)
        done = work(decoded) if decoded.num_rows else schema.empty_table()
    except Exception as exc:
        log.warning("a task failed", exc_info=exc)
        failure = [type(exc).__name__, str(exc), getattr(exc, "hint", None)]
        done = pa.Table.from_pylist([{_FAILURE.name: json.dumps(failure)}], schema=schema)
    yield from done.to_batches()


def _done(told: pa.Table) -> pa.Table:
    """What tasks have made. Raises what went wrong in any of them."""
    for text in told[_FAILURE.name].drop_null().to_pylist():
        kind, message, hint = json.loads(text)
        error = IntegrityError if kind == IntegrityError.__name__ else ServiceError
        raise error(message or kind, hint=hint)
    return told.drop_columns([_FAILURE.name])


# A Python worker serves many tasks; what it needs for them is made once for each writer's turn.
@lru_cache(maxsize=1)
def _landing(warehouse: WarehouseSettings, deduplicate: bool, token: int) -> Landing:
    client = connect(warehouse)
    landing = Landing(
        client, deduplicate=deduplicate, before_inserts=partial(require_writer, client, token)
    )
    landing.dimensions = Dimensions.load(client)
    return landing


_inspectors: dict[str, TopicInspector] = {}


def _inspector(kafka: KafkaSettings) -> TopicInspector:
    if kafka.bootstrap not in _inspectors:
        _inspectors[kafka.bootstrap] = TopicInspector(kafka)
    return _inspectors[kafka.bootstrap]


class ExecutorDestination(Destination):
    """The work is done by executors; the driver lets the followers see it and commits it."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        source: Source,
        sink: WarehouseSink,
        *,
        archiver: Archiver | None = None,
        on_report: Callable[[BatchReport], None],
    ) -> None:
        super().__init__(client, source, sink, archiver=archiver, on_report=on_report)
        self._warehouse = settings.warehouse.model_copy(update={"database": client.database})
        self._deduplicate = settings.stream.deduplicate

    def put(self, frame: DataFrame, ids: Mapping[str, UUID], batch_id: int) -> None:
        clock = Stopwatch()
        task = LandTask(
            self._warehouse,
            self._source.kafka,
            ids,
            dict(self._sink.landing.high_water),
            self._deduplicate,
            self._token,
        )
        # Spark names the function it runs; a plain one has a name.
        landed = frame.mapInArrow(lambda batches: task(batches), from_arrow_schema(_LANDED))
        batch = from_landed(_done(landed.toArrow()))
        clock.lap("land")
        if not batch.ranges:
            return
        if self._archiver:
            self._archiver.put_ranges(batch.ranges)
        # Executors loaded their own; the followers ask the driver's.
        self._sink.landing.refresh_dimensions(batch.winners)
        self._on_report(self._sink.finish(Landed(batch, clock.seconds), batch_id=batch_id))


def fill_by_executors(
    spark: SparkSession, source: Source, lake: LakeSettings, *, lake_url: str
) -> Callable[[Sequence[OffsetRange]], Iterator[tuple[OffsetRange, ...]]]:
    """What the archiver needs to fill its gaps, with executors reading and writing."""

    def fill(gaps: Sequence[OffsetRange]) -> Iterator[tuple[OffsetRange, ...]]:
        task = ArchiveTask(lake, lake_url, source.kafka, source.topic_ids())
        for piece in in_pieces(gaps, records=GAP_RECORDS):
            frame = source.recorded(spark, piece)
            done = frame.mapInArrow(lambda batches: task(batches), from_arrow_schema(_ARCHIVED))
            yield tuple(OffsetRange(**row) for row in _done(done.toArrow()).to_pylist())

    return fill


def as_landed(batch: Batch) -> pa.Table:
    """Every record of a batch, with its outcome, as a task returns it."""
    parts = ((_COUNTED, batch.winners), (_DUPLICATE, batch.duplicates), (_REFUSED, batch.refused))

    def column(field: pa.Field, rows: pa.Table, outcome: str) -> pa.Array:
        if field.name == "outcome":
            return pa.repeat(pa.scalar(outcome), rows.num_rows)
        if field == _FAILURE or (outcome != _REFUSED and field.name in _OF_REFUSED):
            return pa.nulls(rows.num_rows, field.type)
        return rows[field.name].cast(field.type)

    return pa.concat_tables(
        pa.table([column(field, rows, outcome) for field in _LANDED], schema=_LANDED)
        for outcome, rows in parts
    )


def from_landed(landed: pa.Table) -> Batch:
    """The batch that tasks have landed, as followers see it."""

    def those(outcome: str) -> pa.Table:
        return landed.filter(pc.equal(landed["outcome"], outcome)).drop_columns(["outcome"])

    return Batch(offset_ranges(landed), those(_COUNTED), those(_DUPLICATE), those(_REFUSED))
