"""An empty warehouse filled again, from Kafka or from the lake: the same rows as before.

It is the live path with another beginning: the same decoding, the same sink, no alerts.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from clickhouse import queries
from clickhouse.client import Client
from lake.client import Lake
from lake.reader import read_ranges
from producers.topics import TopicInspector
from streaming.anomalies import AnomalyMarks
from streaming.decode import decode
from streaming.jobs import DriverDestination, KafkaJob, Source, rules_of, source_schemas
from streaming.session import spark_session
from streaming.sinks import BatchReport, WarehouseSink
from streaming.watch import StockWatch
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.topics import HISTORY_PREFIX, SOURCE_TOPICS
from tillstream.errors import ConfigError
from tillstream.settings import Settings

OnReport = Callable[[BatchReport], None]


def require_empty(client: Client) -> None:
    """Raises ConfigError when there are facts already: a rebuild fills, it does not repair."""
    if queries.highest_offsets(client):
        raise ConfigError(
            f"database {client.database!r} is not empty",
            hint="rebuild into another one with --into NAME, or drop this one first",
        )


def rebuild_from_kafka(
    settings: Settings, client: Client, *, jars: Sequence[Path], on_report: OnReport
) -> None:
    """Fill from everything Kafka still holds now."""
    spark = _session(settings, jars)
    sink = _sink(settings, client)
    inspector = TopicInspector(settings.kafka)
    schemas = source_schemas(load_catalogue(settings.registry))
    source = Source(settings.kafka, inspector, schemas, rules_of(settings))
    destination = DriverDestination(client, source, sink, on_report=on_report)
    try:
        job = KafkaJob(
            name="rebuild",
            spark=spark,
            source=source,
            scratch=settings.home / "spark" / "rebuild-checkpoints",
            max_offsets=settings.stream.max_offsets_per_trigger,
            destination=destination,
            once=True,
        )
        query = job.start()
        try:
            query.awaitTermination()
            job.settle()
        except Exception as exc:
            raise (job.failure or exc) from None
    finally:
        destination.close()
        inspector.close()
        sink.close()
        spark.stop()


def rebuild_from_lake(
    settings: Settings, client: Client, lake: Lake, *, jars: Sequence[Path], on_report: OnReport
) -> None:
    """Fill from everything the lake holds, in order of arrival."""
    spark = _session(settings, jars)
    sink = _sink(settings, client)
    schemas = source_schemas(load_catalogue(settings.registry))
    rules = rules_of(settings)
    try:
        sink.open()
        tables = read_ranges(
            lake, batch_rows=settings.stream.max_offsets_per_trigger, topics=SOURCE_TOPICS
        )
        batches = (part for table in tables for part in by_incarnation(table))
        for batch_id, (records, ids) in enumerate(batches):
            decoded = decode(_frame(spark, records), schemas=schemas, rules=rules).toArrow()
            on_report(sink.write(decoded, ids, batch_id=batch_id))
    finally:
        sink.close()
        spark.stop()


def by_incarnation(records: pa.Table) -> Iterator[tuple[pa.Table, dict[str, Any]]]:
    """Split records so that each part holds one incarnation of each topic, older ones first. Its id
    is Kafka's UUID, or the text that stands for one in a written history."""
    found = records.group_by(["topic", "topic_id"]).aggregate([("arrival", "min")])
    lines: dict[str, list[str]] = {}
    for row in found.sort_by([("arrival_min", "ascending"), ("topic_id", "ascending")]).to_pylist():
        lines.setdefault(row["topic"], []).append(row["topic_id"])
    for turn in range(max((len(line) for line in lines.values()), default=0)):
        ids = {topic: line[turn] for topic, line in lines.items() if turn < len(line)}
        chosen = pc.is_in(records["topic_id"], pa.array(list(ids.values())))
        part = records.filter(chosen)
        yield (
            part,
            {t: name if name.startswith(HISTORY_PREFIX) else UUID(name) for t, name in ids.items()},
        )


def _frame(spark: SparkSession, records: pa.Table) -> DataFrame:
    """Archived records with the columns that Kafka's source would give them."""
    columns = ["topic", "partition", "offset", "arrival", "key", "value"]
    frame = spark.createDataFrame(records.select(columns))
    return frame.withColumnRenamed("arrival", "timestamp")


def _session(settings: Settings, jars: Sequence[Path]) -> SparkSession:
    return spark_session(
        master=settings.stream.master,
        jars=jars,
        scratch=settings.home / "spark" / "rebuild",
        driver_memory=settings.stream.driver_memory,
        java_options=settings.stream.java_options,
        app_name="tillstream-rebuild",
        spark_conf=settings.stream.spark_conf,
    )


def _sink(settings: Settings, client: Client) -> WarehouseSink:
    return WarehouseSink(
        client,
        deduplicate=settings.stream.deduplicate,
        followers=(AnomalyMarks(client), StockWatch(client, settings.risk, publisher=None)),
    )
