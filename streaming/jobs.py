"""The query of the stream, assembled: source, decoding, where batches go, triggers, checkpoints."""

import itertools
import logging
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import partial
from pathlib import Path
from uuid import UUID

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from clickhouse import queries
from clickhouse.client import Client
from lake.archive import archive
from lake.client import Lake
from producers.topics import TopicInspector
from streaming.archiving import Archiver, as_records
from streaming.batch import OffsetRange, offset_ranges, with_topic_ids
from streaming.decode import Schemas, decode
from streaming.fencing import require_writer, take_over
from streaming.landing import Stopwatch
from streaming.lane import Lane
from streaming.rows import LIVE
from streaming.schemas import Rules
from streaming.sinks import BatchReport, WarehouseSink, must_still_be
from streaming.sources import Starting, kafka_records, recorded_ranges, starting_offsets
from tillstream.contracts.catalogue import Catalogue
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import IntegrityError, ServiceError
from tillstream.settings import KafkaSettings, Settings

log = logging.getLogger("tillstream.stream")

# A gap of the lake is read from Kafka in pieces of this many records.
GAP_RECORDS = 250_000
# A batch of this many records says that the stream is catching up rather than keeping up.
_CATCHING_UP = 20_000


def source_schemas(catalogue: Catalogue) -> Schemas:
    return {topic: catalogue.versions(topic) for topic in SOURCE_TOPICS}


def rules_of(settings: Settings) -> Rules:
    oldest = datetime.combine(settings.stream.oldest_event, time.min, tzinfo=UTC)
    return Rules(max_future_s=settings.stream.max_future_s, oldest_event=oldest)


class Destination(ABC):
    """Where decoded batches go. Who gathers and writes them is up to `put`."""

    def __init__(
        self,
        client: Client,
        source: "Source",
        sink: WarehouseSink,
        *,
        archiver: Archiver | None = None,
        on_report: Callable[[BatchReport], None],
    ) -> None:
        self._client = client
        self._source = source
        self._sink = sink
        self._archiver = archiver
        self._on_report = on_report
        self._token = 0

    @property
    def failure(self) -> Exception | None:
        """What went wrong since `open`, for those who do not `put`."""
        return self._sink.failure or (self._archiver.fatal if self._archiver else None)

    def open(self) -> list[queries.Cut]:
        """Become the writer, and put right what an interruption left; returns from where to read
        on."""
        self._token = take_over(self._client)
        self._sink.open()
        return queries.committed_cuts(self._client, LIVE)

    def starts(self, starting: Mapping[tuple[str, int], int]) -> None:
        """Reading begins at these offsets, by topic_id and partition."""
        if self._archiver:
            self._archiver.open(starting)

    @abstractmethod
    def put(self, frame: DataFrame, ids: Mapping[str, UUID], batch_id: int) -> None:
        """Take a batch; it may be stored only later. Raises what went wrong with earlier ones."""

    def settle(self) -> None:
        """Wait until everything taken is stored."""
        self._sink.settle()

    def close(self) -> None:
        """Archive what waits. The sink is closed by whoever made it."""
        if self._archiver:
            self._archiver.close()


@dataclass(slots=True)
class KafkaJob:
    """A query over the source topics. Each start begins at what the warehouse says is stored and
    uses a new checkpoint: Spark's own is scratch, and losing or damaging it loses nothing."""

    name: str
    spark: SparkSession
    source: "Source"
    scratch: Path
    max_offsets: int
    destination: Destination
    trigger_s: float = 0.0
    accept_loss: bool = False
    once: bool = False
    _busy: threading.Lock = field(default_factory=threading.Lock)
    _failure: Exception | None = None
    _starts: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def failure(self) -> Exception | None:
        """What a batch raised; Spark itself only passes on its text."""
        return self._failure or self.destination.failure

    def start(self) -> StreamingQuery:
        self._failure = None
        ids = self.source.topic_ids()
        cuts = self.destination.open()
        starting = self.source.starting(ids, cuts, accept_loss=self.accept_loss)
        log.info("%s starts at %s", self.name, starting)
        self.destination.starts(
            {place[1:]: offset for place, offset in by_place(starting, ids).items()}
        )
        records = kafka_records(
            self.spark, self.source.kafka, starting=starting, max_offsets=self.max_offsets
        )
        checkpoint = self.scratch / f"{self.name}-{next(self._starts)}"
        shutil.rmtree(checkpoint, ignore_errors=True)
        writer = (
            self.source.decoded(records)
            .writeStream.queryName(self.name)
            .option("checkpointLocation", checkpoint.as_uri())
            .foreachBatch(self._batch(ids))
        )
        if self.once:
            return writer.trigger(availableNow=True).start()
        return writer.trigger(processingTime=f"{self.trigger_s} seconds").start()

    def stop(self, query: StreamingQuery) -> None:
        with self._busy:
            query.stop()

    def settle(self) -> None:
        self.destination.settle()

    def _batch(self, ids: Mapping[str, UUID]) -> Callable[[DataFrame, int], None]:
        def put(frame: DataFrame, batch_id: int) -> None:
            # Spark, told to stop, waits for the batch that it has handed us: it must not wait too.
            if not self._busy.acquire(blocking=False):
                raise ServiceError(f"{self.name} is being stopped")
            try:
                self.destination.put(frame, ids, batch_id)
            except Exception as exc:
                self._failure = exc
                raise
            finally:
                self._busy.release()

        return put


@dataclass(frozen=True, slots=True)
class Source:
    """The source topics in Kafka, and how their records are decoded."""

    kafka: KafkaSettings
    inspector: TopicInspector
    schemas: Schemas
    rules: Rules

    def topic_ids(self) -> dict[str, UUID]:
        """Raises ServiceError when a topic is missing: going on without it would never notice
        that it was created later."""
        topics = [topic.value for topic in SOURCE_TOPICS]
        ids = self.inspector.topic_ids(topics)
        if absent := [topic for topic in topics if topic not in ids]:
            raise ServiceError(
                f"topic {', '.join(absent)} does not exist", hint="run `tillstream provision`"
            )
        return ids

    def starting(
        self, ids: Mapping[str, UUID], cuts: Sequence[queries.Cut], *, accept_loss: bool
    ) -> Starting:
        """Where to go on in the topics that have these UUIDs now."""
        names = {topic: str(topic_id) for topic, topic_id in ids.items()}
        ranges = self.inspector.offset_ranges(list(ids))
        return starting_offsets(ranges, names, cuts, accept_loss=accept_loss)

    def decoded(self, records: DataFrame) -> DataFrame:
        return decode(records, schemas=self.schemas, rules=self.rules)

    def recorded(self, spark: SparkSession, ranges: Sequence[OffsetRange]) -> DataFrame:
        """The decoded records of `ranges`; not a stream."""
        return self.decoded(recorded_ranges(spark, self.kafka, ranges))


class DriverDestination(Destination):
    """Gathers each batch on the driver: the quickest way as long as one process can hold and send
    it. When much waits, the warehouse is written while Spark decodes the next batch. A small batch
    is stored first: sharing the cores with its successor would make both late."""

    def __init__(
        self,
        client: Client,
        source: Source,
        sink: WarehouseSink,
        *,
        archiver: Archiver | None = None,
        on_report: Callable[[BatchReport], None],
    ) -> None:
        super().__init__(client, source, sink, archiver=archiver, on_report=on_report)
        self._lane = Lane[_Decoded]("warehouse", self._store)

    @property
    def failure(self) -> Exception | None:
        return self._lane.failure or super().failure

    def open(self) -> list[queries.Cut]:
        self._lane.reset()
        cuts = super().open()
        self._sink.landing.before_inserts = partial(require_writer, self._client, self._token)
        return cuts

    def put(self, frame: DataFrame, ids: Mapping[str, UUID], batch_id: int) -> None:
        clock = Stopwatch()
        # As many tasks as cores: each costs more than the few records a partition has in a batch.
        cores = frame.sparkSession.sparkContext.defaultParallelism
        decoded = frame.coalesce(cores).toArrow()
        clock.lap("decode")
        must_still_be(self._source.inspector, ids)
        if self._archiver:
            self._archiver.put(decoded, ids)
        clock.lap("archive")
        self._lane.put(_Decoded(decoded, ids, batch_id, clock))
        if decoded.num_rows < _CATCHING_UP:
            self._lane.settle()

    def settle(self) -> None:
        self._lane.settle()
        super().settle()

    def close(self) -> None:
        self._lane.close()
        super().close()

    def _store(self, batch: "_Decoded") -> None:
        batch.clock.lap("queue")
        report = self._sink.write(batch.rows, batch.ids, batch_id=batch.batch_id)
        report.seconds = {**batch.clock.seconds, **report.seconds}
        self._on_report(report)


@dataclass(frozen=True, slots=True)
class _Decoded:
    rows: pa.Table
    ids: Mapping[str, UUID]
    batch_id: int
    clock: Stopwatch


def fill_from_kafka(
    spark: SparkSession, source: Source, lake: Lake
) -> Callable[[Sequence[OffsetRange]], Iterator[tuple[OffsetRange, ...]]]:
    """What the archiver needs to fill its gaps, piece by piece, through the driver."""

    def fill(gaps: Sequence[OffsetRange]) -> Iterator[tuple[OffsetRange, ...]]:
        ids = source.topic_ids()
        for piece in in_pieces(gaps, records=GAP_RECORDS):
            records = source.recorded(spark, piece).toArrow()
            must_still_be(source.inspector, ids)
            records = with_topic_ids(records, ids)
            archive(lake, as_records(records))
            yield offset_ranges(records)

    return fill


def by_place(starting: Starting, ids: Mapping[str, UUID]) -> dict[tuple[str, str, int], int]:
    """Offsets by topic, topic_id and partition."""
    return {
        (topic, str(ids[topic]), int(partition)): offset
        for topic, partitions in starting.items()
        for partition, offset in partitions.items()
    }


def places(
    source: Source, cuts: Sequence[queries.Cut], *, accept_loss: bool
) -> dict[tuple[str, str, int], int]:
    """Where to go on in today's topics."""
    ids = source.topic_ids()
    return by_place(source.starting(ids, cuts, accept_loss=accept_loss), ids)


def in_pieces(gaps: Sequence[OffsetRange], *, records: int) -> Iterator[list[OffsetRange]]:
    """The same ranges, cut so that no piece has more than about `records` records."""
    left = list(gaps)
    while left:
        share = max(records // len(left), 1)
        yield [
            OffsetRange(g.topic, g.topic_id, g.partition, g.first, min(g.first + share - 1, g.last))
            for g in left
        ]
        left = [
            OffsetRange(g.topic, g.topic_id, g.partition, g.first + share, g.last)
            for g in left
            if g.first + share <= g.last
        ]


@dataclass(slots=True)
class BadShare:
    """Stops the stream loudly when too many records are refused. Counts since the start."""

    limit: float
    at_least: int
    records: int = 0
    refused: int = 0

    def __call__(self, report: BatchReport) -> None:
        self.records += report.records
        self.refused += report.refused
        if self.records >= self.at_least and self.refused > self.limit * self.records:
            raise IntegrityError(
                f"{self.refused} of {self.records} records were refused, more than "
                f"{self.limit:.0%}: the stream stops so that somebody looks",
                hint="see the table quarantine; raise TILLSTREAM_STREAM__BAD_SHARE_LIMIT to go on",
            )
