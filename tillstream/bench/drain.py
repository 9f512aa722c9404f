"""A process of its own: Spark drains the sales topic into one database, one way, once.

It prints one JSON document: seconds since `--began` until Spark was there and until each batch was
stored, the records of each batch, and Spark's own account of its time.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from clickhouse.client import Client, connect
from clickhouse.writer import insert
from producers.topics import TopicInspector
from streaming.batch import Batch, with_topic_ids
from streaming.decode import decode
from streaming.enrich import Dimensions, enriched
from streaming.jobs import rules_of, source_schemas
from streaming.rows import fact_rows
from streaming.schemas import FACTS
from streaming.session import spark_session
from streaming.sources import kafka_records, starting_offsets
from streaming.velocity import KEYS, velocity
from tillstream.bench.ways import STATE_TABLE, Way
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.topics import Topic
from tillstream.devstack.jars import spark_jars
from tillstream.settings import Settings, load_settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_FACT_TABLE, _FACT_COLUMNS = FACTS[Topic.SALES]
_SUMMED = ("quantity", "revenue")
_SECONDS = pa.timestamp("s", tz="UTC")

# Stores one batch; gets its rows and its number.
Store = Callable[[pa.Table, int], None]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--way", type=Way, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--began", type=float, required=True, help="seconds since 1970")
    arguments = parser.parse_args()
    settings = load_settings(home=arguments.home)
    found = drain(
        settings,
        way=arguments.way,
        database=arguments.database,
        batch=arguments.batch,
        began=arguments.began,
    )
    sys.stdout.write(json.dumps(found) + "\n")


def drain(
    settings: Settings, *, way: Way, database: str, batch: int, began: float
) -> dict[str, Any]:
    """Store everything the sales topic holds, at most `batch` records at a time."""
    scratch = settings.home / "spark" / database
    spark = spark_session(
        master=settings.stream.master,
        jars=spark_jars(settings),
        scratch=scratch,
        driver_memory=settings.stream.driver_memory,
        app_name="tillstream-bench",
    )
    ready_s = time.time() - began
    if way.state_store:
        spark.conf.set("spark.sql.streaming.stateStore.providerClass", way.state_store)
    with TopicInspector(settings.kafka) as inspector:
        topics = [Topic.SALES.value]
        ids = inspector.topic_ids(topics)
        names = {name: str(uid) for name, uid in ids.items()}
        starting = starting_offsets(inspector.offset_ranges(topics), names, [])
    client = connect(settings.warehouse, database=database)
    store = STORES[way](client, ids)
    ends: dict[int, float] = {}

    def write(frame: "DataFrame", batch_id: int) -> None:
        store(frame.toArrow(), batch_id)
        ends[batch_id] = time.time() - began

    records = kafka_records(spark, settings.kafka, starting=starting, max_offsets=batch)
    schemas = source_schemas(load_catalogue(settings.registry))
    events = decode(records, schemas=schemas, rules=rules_of(settings))
    query = (
        _shaped(events, way)
        .writeStream.outputMode("update" if way.state_store else "append")
        .option("checkpointLocation", (scratch / "checkpoint").as_uri())
        .foreachBatch(write)
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    # Batches without records move nothing and end no measurement.
    told = [one for one in query.recentProgress if one.numInputRows and one.batchId in ends]
    spark_version = spark.version
    client.close()
    spark.stop()
    return {
        "ready_s": ready_s,
        "spark": spark_version,
        "batches": [
            {
                "records": one.numInputRows,
                "end_s": ends[one.batchId],
                "spark_ms": dict(one.durationMs),
            }
            for one in told
        ],
    }


def _shaped(events: "DataFrame", way: Way) -> "DataFrame":
    """What reaches the driver: all columns for facts, few for partial sums, windows from state."""
    if way.stores_facts:
        return events
    if way is Way.PARTIALS_ALONE:
        return events.select("topic", "partition", "offset", "arrival", "reason", *KEYS, *_SUMMED)
    # No watermark: it would forget windows and drop the late events that must still repair them.
    # Refused rows have no keys and are left out at the end: a filter here would be pushed below the
    # decoding, which Spark then repeats for each column that the filter looks at.
    sums = events.groupBy(*KEYS)
    named = ("`sum(quantity)` AS units", "`sum(revenue)` AS revenue", "`count(1)` AS lines")
    summed = sums.agg({"quantity": "sum", "revenue": "sum", "*": "count"})
    return summed.selectExpr(*KEYS, *named)


def _facts(client: Client, ids: Mapping[str, UUID], *, sums: bool) -> Store:
    def store(decoded: pa.Table, _batch_id: int) -> None:
        if decoded.num_rows == 0:
            return
        batch = Batch.of(with_topic_ids(decoded, ids), lookup=None)
        token = ",".join(str(one) for one in batch.ranges)
        winners = enriched(batch.winners, Dimensions.empty())
        insert(client, _FACT_TABLE, fact_rows(winners, _FACT_COLUMNS), token=token)
        if sums:
            insert(client, "velocity_5m_sums", _in_seconds(velocity(winners)), token=token)

    return store


def _partials_alone(client: Client, ids: Mapping[str, UUID]) -> Store:
    def store(decoded: pa.Table, _batch_id: int) -> None:
        if decoded.num_rows == 0:
            return
        batch = Batch.of(with_topic_ids(decoded, ids), lookup=None)
        token = ",".join(str(one) for one in batch.ranges)
        insert(client, "velocity_5m_sums", _in_seconds(velocity(batch.winners)), token=token)

    return store


def _replaced(client: Client, _ids: Mapping[str, UUID]) -> Store:
    def store(every: pa.Table, batch_id: int) -> None:
        windows = every.filter(pc.is_valid(every["store_id"]))
        version = pa.array([batch_id] * windows.num_rows, pa.int64())
        insert(client, STATE_TABLE, _in_seconds(windows.append_column("version", version)))

    return store


STORES: dict[Way, Callable[[Client, Mapping[str, UUID]], Store]] = {
    Way.PARTIALS: lambda client, ids: _facts(client, ids, sums=True),
    Way.VIEW: lambda client, ids: _facts(client, ids, sums=False),
    Way.PARTIALS_ALONE: _partials_alone,
    Way.STATE_MEMORY: _replaced,
    Way.STATE_ROCKSDB: _replaced,
}


def _in_seconds(windows: pa.Table) -> pa.Table:
    at = windows.schema.get_field_index("window_start")
    return windows.set_column(at, "window_start", windows["window_start"].cast(_SECONDS))


if __name__ == "__main__":
    main()
