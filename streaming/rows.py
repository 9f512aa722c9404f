"""Rows as the warehouse's tables take them."""

import time
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from clickhouse.queries import Cut
from streaming.batch import OffsetRange
from streaming.schemas import TRACE

# What commits of the live query are called.
LIVE = "live"

MILLIS = pa.timestamp("ms", tz="UTC")
SECONDS = pa.timestamp("s", tz="UTC")


def cuts_after(ranges: Iterable[OffsetRange]) -> list[Cut]:
    """How far the stream is once these ranges are stored."""
    return [Cut(r.topic, r.topic_id, r.partition, r.last + 1) for r in ranges]


def commit_rows(query: str, cuts: Sequence[Cut], *, batch_id: int) -> pa.Table:
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
        table = as_type(table, name, MILLIS)
    table = as_type(table, "window_start", SECONDS)
    return as_type(table, "event_key", pa.binary(16))


def index_rows(winners: pa.Table) -> pa.Table:
    rows = winners.select(["event_key", "arrival", "topic_id", "partition", "offset"])
    return as_type(as_type(rows, "arrival", MILLIS), "event_key", pa.binary(16))


def duplicate_rows(duplicates: pa.Table) -> pa.Table:
    rows = duplicates.select(
        [
            *("topic", "topic_id", "partition", "offset", "arrival", "event_time", "store_id"),
            *("identity", "event_key", "winner_topic_id", "winner_partition", "winner_offset"),
            "value",
        ]
    )
    for name in ("event_time", "arrival"):
        rows = as_type(rows, name, MILLIS)
    return as_type(rows, "event_key", pa.binary(16))


def quarantine_rows(refused: pa.Table) -> pa.Table:
    rows = refused.select(
        [
            *("topic", "topic_id", "partition", "offset", "arrival"),
            *("reason", "detail", "key", "value"),
        ]
    )
    return as_type(rows, "arrival", MILLIS)


def as_type(table: pa.Table, name: str, type_: pa.DataType) -> pa.Table:
    at = table.schema.get_field_index(name)
    if at < 0:
        return table
    return table.set_column(at, name, pc.cast(table[name], type_, safe=False))
