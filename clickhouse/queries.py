"""Typed reads and repairs that the stream needs. Keys travel as external data, not as SQL text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from clickhouse_connect.driver.external import ExternalData

from clickhouse.client import Client, ClickHouseError
from tillstream.errors import ServiceError

FACT_TABLES = ("fact_sales", "fact_inventory", "price_changes", "customer_events")
LANDING_TABLES = (*FACT_TABLES, "duplicates", "quarantine")


@dataclass(frozen=True, slots=True)
class Cut:
    """Everything of a partition below `next_offset` has been stored by `query`."""

    topic: str
    topic_id: str
    partition: int
    next_offset: int


def _external(name: str, rows: pa.Table, structure: str) -> ExternalData:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return ExternalData(
        file_name=name,
        fmt="ArrowStream",
        structure=structure.split(", "),
        data=sink.getvalue().to_pybytes(),
    )


def select(
    client: Client,
    sql: str,
    *,
    keys: tuple[pa.Table, str] | None = None,
    parameters: dict[str, Any] | None = None,
) -> pa.Table:
    """Run a SELECT; `keys` (rows, structure) can be used in it as table `keys`."""
    try:
        external = _external("keys", *keys) if keys else None
        return client.query_arrow(
            sql, parameters=parameters, external_data=external, use_strings=True
        )
    except (ClickHouseError, OSError) as exc:
        raise ServiceError(f"query failed: {exc}") from exc


def command(client: Client, sql: str, *, keys: tuple[pa.Table, str] | None = None) -> None:
    """Run a statement that returns nothing, with `keys` as in `select`."""
    try:
        external = _external("keys", *keys) if keys else None
        client.command(sql, external_data=external, settings={"insert_deduplicate": 0})
    except (ClickHouseError, OSError) as exc:
        raise ServiceError(f"statement failed: {exc}") from exc


def find_events(client: Client, event_keys: pa.Array) -> pa.Table:
    """(event_key, topic_id, partition, offset) of those of `event_keys` that are stored."""
    keys = pa.table({"event_key": event_keys.cast(pa.binary(16))})
    return select(
        client,
        "SELECT event_key, argMin(topic_id, arrival) AS topic_id,"
        " argMin(partition, arrival) AS partition, argMin(offset, arrival) AS offset"
        " FROM event_index WHERE event_key IN keys GROUP BY event_key",
        keys=(keys, "event_key FixedString(16)"),
    ).cast(
        pa.schema(
            [
                ("event_key", pa.binary()),
                ("topic_id", pa.string()),
                ("partition", pa.int32()),
                ("offset", pa.int64()),
            ]
        )
    )


def highest_offsets(client: Client) -> dict[tuple[str, int], int]:
    """The highest stored offset of every (topic_id, partition)."""
    union = " UNION ALL ".join(
        f"SELECT topic_id, partition, max(offset) AS high FROM {table} GROUP BY topic_id, partition"
        for table in LANDING_TABLES
    )
    rows = select(
        client,
        f"SELECT toString(topic_id) AS topic_id, partition, max(high) AS high FROM ({union})"
        " GROUP BY topic_id, partition",
    )
    return {(r["topic_id"], r["partition"]): r["high"] for r in rows.to_pylist()}


def stored_offsets(
    client: Client, ranges: Iterable[tuple[str, int, int, int]], *, tables: Sequence[str]
) -> pa.Table:
    """(table, topic_id, partition, offset) of every row stored in the inclusive offset ranges
    (topic_id, partition, first, last)."""
    bounds = list(ranges)
    schema = pa.schema(
        [("t", pa.string()), ("p", pa.int32()), ("a", pa.int64()), ("z", pa.int64())]
    )
    columns = list(zip(*bounds, strict=True)) if bounds else [[], [], [], []]
    keys = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)
    lowest = min((b[2] for b in bounds), default=0)
    highest = max((b[3] for b in bounds), default=-1)
    union = " UNION ALL ".join(
        f"SELECT '{table}' AS source, toString(f.topic_id) AS topic_id, f.partition AS partition,"
        f" f.offset AS offset FROM {table} AS f INNER JOIN keys AS k"
        f" ON f.topic_id = k.t AND f.partition = k.p"
        f" WHERE f.offset BETWEEN {lowest} AND {highest} AND f.offset BETWEEN k.a AND k.z"
        for table in tables
    )
    return select(client, union, keys=(keys, "t String, p Int32, a Int64, z Int64"))


def committed_cuts(client: Client, query: str) -> list[Cut]:
    rows = select(
        client,
        "SELECT toString(topic) AS topic, toString(topic_id) AS topic_id, partition, next_offset"
        " FROM stream_commits FINAL WHERE query = {query:String} ORDER BY topic, partition",
        parameters={"query": query},
    )
    return [Cut(**row) for row in rows.to_pylist()]


_WINDOW_KEYS = "store_id String, product_id String, window_start DateTime('UTC')"


def _in_whole_seconds(windows: pa.Table) -> pa.Table:
    """Windows as DateTime (seconds, unsigned 32 bits) instead of microseconds."""
    at = windows.schema.get_field_index("window_start")
    seconds = windows["window_start"].cast(pa.timestamp("s", tz="UTC")).cast(pa.int64())
    return windows.set_column(at, "window_start", seconds.cast(pa.uint32()))


def repair_velocity(client: Client, windows: pa.Table) -> None:
    """Make the sums of `windows` (store_id, product_id, window_start) equal to their facts.

    What is added is the difference between the facts and the sums as they are now, so running it
    again adds nothing. Nobody else may be writing sales or sums meanwhile.
    """
    key = "(store_id, product_id, window_start)"
    command(
        client,
        "INSERT INTO velocity_5m_sums"
        " SELECT store_id, product_id, window_start, sum(u) AS units, sum(r) AS revenue,"
        " sum(l) AS lines FROM ("
        "  SELECT store_id, product_id, window_start, toInt64(quantity) AS u,"
        "   toDecimal128(revenue, 4) AS r, toInt64(1) AS l"
        f"  FROM fact_sales WHERE {key} IN (SELECT * FROM keys)"
        "  UNION ALL"
        "  SELECT store_id, product_id, window_start, -units, -revenue, -lines"
        f"  FROM velocity_5m_sums WHERE {key} IN (SELECT * FROM keys)"
        " ) GROUP BY store_id, product_id, window_start"
        " HAVING units != 0 OR revenue != 0 OR lines != 0",
        keys=(_in_whole_seconds(windows), _WINDOW_KEYS),
    )


_ITEM_KEYS = "store_id String, product_id String"


def repair_stock(client: Client, items: pa.Table) -> None:
    """Let current stock see every stored report of `items` (store_id, product_id) again."""
    command(
        client,
        "INSERT INTO current_stock_states"
        " SELECT store_id, product_id,"
        " argMaxState(quantity_on_hand, (sequence, event_time, offset)) AS on_hand,"
        " max(fact_inventory.sequence), max(event_time)"
        " FROM fact_inventory WHERE (store_id, product_id) IN (SELECT * FROM keys)"
        " GROUP BY store_id, product_id",
        keys=(items, _ITEM_KEYS),
    )


def stock_and_sales(client: Client, items: pa.Table, *, since_s: int) -> pa.Table:
    """For each of `items` with known stock: on_hand, and units and revenue sold since `since_s`
    (seconds since 1970); and its demand prior, null where there is none."""
    return select(
        client,
        "SELECT toString(s.store_id) AS store_id, s.product_id AS product_id,"
        " s.on_hand AS on_hand, v.units AS units, toFloat64(v.revenue) AS revenue,"
        " p.daily_units AS daily_units, p.dispersion AS dispersion,"
        " p.lead_time_days AS lead_time_days, p.known AS has_prior"
        " FROM (SELECT store_id, product_id, argMaxMerge(on_hand) AS on_hand"
        "  FROM current_stock_states WHERE (store_id, product_id) IN (SELECT * FROM keys)"
        "  GROUP BY store_id, product_id) AS s"
        " LEFT JOIN (SELECT store_id, product_id, sum(units) AS units, sum(revenue) AS revenue"
        "  FROM velocity_5m_sums WHERE (store_id, product_id) IN (SELECT * FROM keys)"
        f"  AND window_start >= toDateTime({since_s}, 'UTC')"
        "  GROUP BY store_id, product_id) AS v"
        " ON v.store_id = s.store_id AND v.product_id = s.product_id"
        " LEFT JOIN (SELECT store_id, product_id, daily_units, dispersion, lead_time_days,"
        "  1 AS known FROM demand_prior FINAL"
        "  WHERE (store_id, product_id) IN (SELECT * FROM keys)) AS p"
        " ON p.store_id = s.store_id AND p.product_id = s.product_id",
        keys=(items, _ITEM_KEYS),
    )


def running_inserts(client: Client) -> int:
    """How many of the stream's inserts the server is still working on."""
    rows = select(
        client,
        "SELECT count() AS n FROM system.processes WHERE query_kind = 'Insert'"
        " AND current_database = currentDatabase()",
    )
    return int(rows["n"][0].as_py())
