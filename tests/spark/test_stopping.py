"""Stopping a running query, which Spark may be about to hand a batch to."""

import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from producers.topics import TopicInspector
from streaming.jobs import Destination, KafkaJob, Source
from streaming.schemas import Rules
from tillstream.settings import KafkaSettings


class _Taken:
    """A destination that counts its batches."""

    failure = None

    def __init__(self) -> None:
        self.count = 0

    def put(self, _frame: DataFrame, _ids: Mapping[str, uuid.UUID], _batch_id: int) -> None:
        self.count += 1


class _StoppedLate:
    """Spark's query, whose stop takes effect only once Spark has handed over one more batch."""

    def __init__(self, query: StreamingQuery) -> None:
        self._query = query

    def stop(self) -> None:
        while self._query.isActive:
            time.sleep(0.05)
        self._query.stop()


@pytest.mark.timeout(60)
def test_a_batch_that_begins_while_the_query_is_stopped_is_refused(
    spark: SparkSession, tmp_path: Path
) -> None:
    taken = _Taken()
    job = KafkaJob(
        name="live",
        spark=spark,
        source=Source(KafkaSettings(), cast("TopicInspector", None), {}, Rules()),
        scratch=tmp_path,
        max_offsets=1,
        destination=cast("Destination", taken),
    )
    query = (
        spark.readStream.format("rate")
        .option("rowsPerSecond", 100)
        .load()
        .writeStream.option("checkpointLocation", (tmp_path / "checkpoint").as_uri())
        .foreachBatch(job._batch({}))
        .start()
    )
    while not taken.count:
        time.sleep(0.05)
    stopping = threading.Thread(
        target=job.stop, args=(cast("StreamingQuery", _StoppedLate(query)),), daemon=True
    )
    stopping.start()
    stopping.join(timeout=20)
    assert not stopping.is_alive()
    assert job.failure is None
