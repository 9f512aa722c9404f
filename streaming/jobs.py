"""The two queries of the stream, assembled: sources, decoding, sinks, triggers, checkpoints."""

import itertools
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from clickhouse import queries
from clickhouse.client import Client
from clickhouse.writer import insert
from lake.archive import RECORD_SCHEMA, archive
from lake.client import Lake
from lake.coverage import coverage
from producers.topics import TopicInspector
from streaming.batch import offset_ranges, with_topic_ids
from streaming.decode import Schemas, decode
from streaming.schemas import Rules
from streaming.sinks import (
    LIVE,
    BatchReport,
    TopicRecreated,
    WarehouseSink,
    commit_rows,
    cuts_after,
)
from streaming.sources import kafka_records, starting_offsets
from tillstream.contracts.catalogue import Catalogue
from tillstream.contracts.topics import SOURCE_TOPICS
from tillstream.errors import IntegrityError, ServiceError
from tillstream.settings import KafkaSettings, Settings

log = logging.getLogger("tillstream.stream")

LAKE = "lake"
# The lake is written seldom and in large objects, so its batches may be larger.
LAKE_BATCH_FACTOR = 5

# Stores one decoded batch whose topics have these UUIDs.
Store = Callable[[pa.Table, Mapping[str, UUID], int], None]


def source_schemas(catalogue: Catalogue) -> Schemas:
    return {topic: catalogue.versions(topic) for topic in SOURCE_TOPICS}


def rules_of(settings: Settings) -> Rules:
    oldest = datetime.combine(settings.stream.oldest_event, time.min, tzinfo=UTC)
    return Rules(max_future_s=settings.stream.max_future_s, oldest_event=oldest)


@dataclass(slots=True)
class KafkaJob:
    """A query over the source topics. Each start begins at what the warehouse says is stored and
    uses a new checkpoint: Spark's own is scratch, and losing or damaging it loses nothing."""

    name: str
    spark: SparkSession
    kafka: KafkaSettings
    inspector: TopicInspector
    schemas: Schemas
    rules: Rules
    scratch: Path
    max_offsets: int
    trigger_s: float
    cuts: Callable[[], list[queries.Cut]]
    prepare: Callable[[], None]
    store: Store
    accept_loss: bool = False
    once: bool = False
    failure: Exception | None = None
    busy: threading.Lock = field(default_factory=threading.Lock)
    _starts: "itertools.count[int]" = field(default_factory=itertools.count)

    def start(self) -> StreamingQuery:
        topics = [topic.value for topic in SOURCE_TOPICS]
        ids = self.inspector.topic_ids(topics)
        if absent := [topic for topic in topics if topic not in ids]:
            # Going on without it would never notice that it was created later.
            raise ServiceError(
                f"topic {', '.join(absent)} does not exist", hint="run `tillstream provision`"
            )
        self.prepare()
        names = {topic: str(topic_id) for topic, topic_id in ids.items()}
        starting = starting_offsets(
            self.inspector.offset_ranges(topics),
            names,
            self.cuts(),
            accept_loss=self.accept_loss,
        )
        log.info("%s starts at %s", self.name, starting)
        records = kafka_records(
            self.spark, self.kafka, starting=starting, max_offsets=self.max_offsets
        )
        checkpoint = self.scratch / f"{self.name}-{next(self._starts)}"
        shutil.rmtree(checkpoint, ignore_errors=True)
        writer = (
            decode(records, schemas=self.schemas, rules=self.rules)
            .writeStream.queryName(self.name)
            .option("checkpointLocation", checkpoint.as_uri())
            .foreachBatch(self._batch(ids))
        )
        if self.once:
            return writer.trigger(availableNow=True).start()
        return writer.trigger(processingTime=f"{self.trigger_s} seconds").start()

    def _batch(self, ids: Mapping[str, UUID]) -> Callable[[DataFrame, int], None]:
        def write(frame: DataFrame, batch_id: int) -> None:
            with self.busy:
                try:
                    decoded = frame.toArrow()
                    self._still_the_same(ids)
                    self.store(decoded, ids, batch_id)
                except Exception as exc:
                    self.failure = exc
                    raise

        return write

    def _still_the_same(self, ids: Mapping[str, UUID]) -> None:
        """Asked after reading: if no id has changed by now, every record read came from the topic
        we think it did, since an id never comes back."""
        now = self.inspector.topic_ids(list(ids))
        changed = [topic for topic, topic_id in ids.items() if now.get(topic) != topic_id]
        if changed:
            raise TopicRecreated(f"{', '.join(changed)} was deleted and created again")


def live_job(
    *, client: Client, sink: WarehouseSink, on_report: Callable[[BatchReport], None]
) -> dict[str, Any]:
    """The parts of a KafkaJob that fill the warehouse."""

    def store(decoded: pa.Table, ids: Mapping[str, UUID], batch_id: int) -> None:
        on_report(sink.write(decoded, ids, batch_id=batch_id))

    return {
        "cuts": lambda: queries.committed_cuts(client, LIVE),
        "prepare": sink.open,
        "store": store,
    }


def lake_job(
    *, client: Client, lake: Lake, on_report: Callable[[BatchReport], None]
) -> dict[str, Any]:
    """The parts of a KafkaJob that fill the lake. What is archived is what the lake lists; the
    commits in the warehouse only spare others from listing it, and are renewed at each start."""

    def cuts() -> list[queries.Cut]:
        found = archived_cuts(lake, queries.committed_cuts(client, LAKE))
        insert(client, "stream_commits", commit_rows(LAKE, found, batch_id=-1))
        return found

    def store(decoded: pa.Table, ids: Mapping[str, UUID], batch_id: int) -> None:
        if decoded.num_rows == 0:
            return
        records = with_topic_ids(decoded, ids)
        written = archive(lake, as_records(records))
        ends = cuts_after(offset_ranges(records))
        insert(client, "stream_commits", commit_rows(LAKE, ends, batch_id=batch_id))
        on_report(BatchReport(batch_id, counted=sum(one.rows for one in written)))

    return {
        "cuts": cuts,
        "prepare": lake.check,
        "store": store,
    }


def archived_cuts(lake: Lake, committed: list[queries.Cut]) -> list[queries.Cut]:
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


def as_records(decoded: pa.Table) -> pa.Table:
    """Decoded rows in the lake's layout: the record as received first, then what it says."""
    first = list(RECORD_SCHEMA.names)
    arrival = decoded["arrival"].cast(pa.timestamp("ms", tz="UTC"), safe=False)
    at = decoded.schema.get_field_index("arrival")
    table = decoded.set_column(at, "arrival", arrival)
    rest = [name for name in table.column_names if name not in first]
    return pa.table(
        [table[name] for name in (*first, *rest)],
        schema=pa.schema([*RECORD_SCHEMA, *(table.schema.field(name) for name in rest)]),
    )


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
