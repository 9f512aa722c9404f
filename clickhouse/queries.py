"""Typed reads and repairs that the stream needs. Keys travel as external data, not as SQL text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from clickhouse_connect.driver.external import ExternalData

from clickhouse.client import ClickHouseError, Client
from clickhouse.failures import failed
from tillstream.errors import ServiceError

FACT_TABLES = ("fact_sales", "fact_inventory", "price_changes", "customer_events")
# Looking up fewer is so little work that sharing it among threads costs more.
_FEW_KEYS = 20_000
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
    """Run a SELECT; `keys` (rows, structure) can be used in it as table `keys`. Such a lookup goes
    before what people ask: the stream waits for it."""
    settings = {"priority": 1} if keys else {}
    if keys and keys[0].num_rows < _FEW_KEYS:
        settings["max_threads"] = 1
    try:
        external = _external("keys", *keys) if keys else None
        return client.query_arrow(
            sql,
            parameters=parameters,
            settings=settings,
            external_data=external,
            use_strings=True,
        )
    except (ClickHouseError, OSError) as exc:
        raise failed("query", exc) from exc


def command(client: Client, sql: str, *, keys: tuple[pa.Table, str] | None = None) -> None:
    """Run a statement that returns nothing, with `keys` as in `select`."""
    try:
        external = _external("keys", *keys) if keys else None
        client.command(
            sql, external_data=external, settings={"deduplicate_insert_select": "disable"}
        )
    except (ClickHouseError, OSError) as exc:
        raise failed("statement", exc) from exc


_EVENT = pa.schema(
    [
        ("event_key", pa.binary()),
        ("topic_id", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)


def find_events(client: Client, event_keys: pa.Array) -> pa.Table:
    """(event_key, topic_id, partition, offset) of those of `event_keys` that are stored."""
    if len(event_keys) == 0:
        return _EVENT.empty_table()
    keys = pa.table({"event_key": event_keys.cast(pa.binary(16))})
    return select(
        client,
        "SELECT event_key, argMin(topic_id, arrival) AS topic_id,"
        " argMin(partition, arrival) AS partition, argMin(offset, arrival) AS offset"
        " FROM event_index WHERE event_key IN keys GROUP BY event_key",
        keys=(keys, "event_key FixedString(16)"),
    ).cast(_EVENT)


def event_keys(client: Client, *, at_most: int) -> Iterator[pa.Array]:
    """The keys of all stored events, some thousands at a time. Raises ServiceError when there are
    more than `at_most`, before the first."""
    try:
        count = int(client.query("SELECT count() FROM event_index").result_rows[0][0])
        if count > at_most:
            raise ServiceError(f"the warehouse holds {count:,} events")
        settings = {"max_threads": 1, "priority": 2}
        sql = "SELECT event_key FROM event_index"
        with client.query_arrow_stream(sql, settings=settings) as batches:
            for batch in batches:
                yield batch["event_key"]
    except (ClickHouseError, OSError) as exc:
        raise failed("query", exc) from exc


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


def committed_cuts(client: Client, query: str) -> list[Cut]:
    rows = select(
        client,
        "SELECT toString(topic) AS topic, toString(topic_id) AS topic_id, partition, next_offset"
        " FROM stream_commits FINAL WHERE query = {query:String} ORDER BY topic, partition",
        parameters={"query": query},
    )
    return [Cut(**row) for row in rows.to_pylist()]


# Offset ranges (topic_id, partition, first, last), both ends included.
Ranges = Sequence[tuple[str, int, int, int]]
_RANGE_KEYS = "t String, p Int32, a Int64, z Int64"


def _range_keys(ranges: Ranges) -> tuple[pa.Table, str]:
    types = (pa.string(), pa.int32(), pa.int64(), pa.int64())
    columns = zip(*ranges, strict=True)
    arrays = [pa.array(column, type_) for column, type_ in zip(columns, types, strict=True)]
    return pa.table(arrays, names=["t", "p", "a", "z"]), _RANGE_KEYS


def _within(table: str, ranges: Ranges) -> str:
    """A subquery: the rows of `table` inside the ranges of the table `keys`."""
    lowest, highest = min(r[2] for r in ranges), max(r[3] for r in ranges)
    return (
        f"(SELECT f.* FROM {table} AS f INNER JOIN keys AS k"
        " ON f.topic_id = k.t AND f.partition = k.p"
        f" WHERE f.offset BETWEEN {lowest} AND {highest} AND f.offset BETWEEN k.a AND k.z)"
    )


def stored_offsets(client: Client, ranges: Ranges, *, tables: Sequence[str]) -> pa.Table:
    """(source, topic_id, partition, offset) of every row of `tables` stored in `ranges`."""
    union = " UNION ALL ".join(
        f"SELECT '{table}' AS source, toString(topic_id) AS topic_id, partition, offset"
        f" FROM {_within(table, ranges)}"
        for table in tables
    )
    return select(client, union, keys=_range_keys(ranges))


def repair_derived(client: Client, ranges: Ranges) -> int:
    """Bring the identity index, window sums and current stock in line with the facts in `ranges`.
    Returns how many facts were looked at."""
    for table in FACT_TABLES:
        command(
            client,
            "INSERT INTO event_index (event_key, arrival, topic_id, partition, offset)"
            " SELECT event_key, arrival, topic_id, partition, offset"
            f" FROM {_within(table, ranges)}",
            keys=_range_keys(ranges),
        )
    windows = select(
        client,
        "SELECT DISTINCT toString(store_id) AS store_id, product_id, window_start"
        f" FROM {_within('fact_sales', ranges)}",
        keys=_range_keys(ranges),
    )
    items = select(
        client,
        "SELECT DISTINCT toString(store_id) AS store_id, product_id"
        f" FROM {_within('fact_inventory', ranges)}",
        keys=_range_keys(ranges),
    )
    if windows.num_rows:
        repair_velocity(client, windows)
    if items.num_rows:
        repair_stock(client, items)
    union = " UNION ALL ".join(
        f"SELECT count() AS n FROM {_within(table, ranges)}" for table in FACT_TABLES
    )
    counted = select(client, f"SELECT sum(n) AS n FROM ({union})", keys=_range_keys(ranges))
    return int(counted["n"][0].as_py())


def items_in(client: Client, ranges: Ranges) -> pa.Table:
    """Distinct (store_id, product_id) of the sales and movements stored in `ranges`."""
    union = " UNION ALL ".join(
        f"SELECT toString(store_id) AS store_id, product_id FROM {_within(table, ranges)}"
        for table in ("fact_sales", "fact_inventory")
    )
    return select(
        client, f"SELECT DISTINCT store_id, product_id FROM ({union})", keys=_range_keys(ranges)
    ).cast(pa.schema([("store_id", pa.string()), ("product_id", pa.string())]))


_WINDOW_KEYS = "store_id String, product_id String, window_start DateTime('UTC')"


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
        keys=(windows, _WINDOW_KEYS),
    )


_ITEM_KEYS = "store_id String, product_id String"
_IN_ITEMS = "item_key IN (SELECT cityHash64(store_id, product_id) FROM keys)"

# The newest report of an item as current_stock_states keeps it; see migration 0004.
NEWEST_REPORT = (
    "max(bitOr(bitOr(bitShiftLeft(toUInt256(bitXor(reinterpretAsUInt64(sequence),"
    " 9223372036854775808)), 192), bitShiftLeft(toUInt256(toUnixTimestamp64Milli(event_time)),"
    " 128)), bitOr(bitShiftLeft(toUInt256(offset), 64),"
    " toUInt256(reinterpretAsUInt32(quantity_on_hand)))))"
)


def repair_stock(client: Client, items: pa.Table) -> None:
    """Let current stock see every stored report of `items` (store_id, product_id) again."""
    command(
        client,
        "INSERT INTO current_stock_states"
        " SELECT cityHash64(store_id, product_id) AS item_key, store_id, product_id,"
        f" {NEWEST_REPORT} AS newest"
        " FROM fact_inventory WHERE (store_id, product_id) IN (SELECT * FROM keys)"
        " GROUP BY item_key, store_id, product_id",
        keys=(items, _ITEM_KEYS),
    )


def stock_and_sales(client: Client, items: pa.Table, *, since_s: int) -> pa.Table:
    """For each of `items` with known stock: on_hand, and units and revenue sold since the UTC day
    of `since_s` (seconds since 1970) began; and its `item_key`.

    Items are told apart by their 64-bit key alone, which halves the work: among ten million, the
    chance that any two share one is 3 in a million. The views `current_stock` and `velocity_5m`
    compare names.
    """
    return select(
        client,
        "SELECT k.store_id AS store_id, k.product_id AS product_id,"
        " k.item_key AS item_key, s.on_hand AS on_hand, v.units AS units,"
        " toFloat64(v.revenue) AS revenue"
        " FROM (SELECT store_id, product_id, cityHash64(store_id, product_id) AS item_key"
        "  FROM keys) AS k"
        " INNER JOIN (SELECT item_key,"
        "  reinterpretAsInt32(toUInt32(bitAnd(max(newest), 4294967295))) AS on_hand"
        f"  FROM current_stock_states WHERE {_IN_ITEMS} GROUP BY item_key) AS s"
        " ON s.item_key = k.item_key"
        " LEFT JOIN (SELECT item_key, sum(units) AS units, sum(revenue) AS revenue"
        f"  FROM item_sales_daily WHERE {_IN_ITEMS}"
        f"  AND day >= toDate(toDateTime({since_s}, 'UTC')) GROUP BY item_key) AS v"
        " ON v.item_key = k.item_key",
        keys=(items, _ITEM_KEYS),
    )


def demand_priors(client: Client) -> pa.Table:
    """(item_key, daily_units, weight_days, dispersion, lead_time_days) of every item of which
    something is known: what was learned of it, else the prior that was loaded. 0 where a weight or
    a lead time is not known."""
    return select(
        client,
        "SELECT item_key, toFloat32(daily_units) AS daily_units,"
        " toFloat32(weight_days) AS weight_days, toFloat32(dispersion) AS dispersion,"
        " toFloat32(lead_time_days) AS lead_time_days FROM"
        " (SELECT cityHash64(b.store_id, b.product_id) AS item_key, b.a / b.b AS daily_units,"
        "  b.b AS weight_days, b.dispersion AS dispersion,"
        "  if(d.lead_time_days > 0, d.lead_time_days, s.lead_time_days) AS lead_time_days"
        "  FROM (SELECT * FROM demand_belief FINAL) AS b"
        "  LEFT JOIN (SELECT store_id, product_id, lead_time_days FROM demand_prior FINAL) AS d"
        "  ON d.store_id = b.store_id AND d.product_id = b.product_id"
        "  LEFT JOIN (SELECT product_id, supplier_id FROM dim_product FINAL) AS p"
        "  ON p.product_id = b.product_id"
        "  LEFT JOIN (SELECT supplier_id, lead_time_days FROM dim_supplier FINAL) AS s"
        "  ON s.supplier_id = p.supplier_id"
        "  UNION ALL"
        "  SELECT cityHash64(store_id, product_id) AS item_key, daily_units, 0 AS weight_days,"
        "  dispersion, lead_time_days FROM demand_prior FINAL"
        "  WHERE (store_id, product_id) NOT IN (SELECT store_id, product_id FROM demand_belief))",
    )


def learned_until_ms(client: Client) -> int | None:
    """Sales before this are in what was learned; None when nothing was."""
    rows = select(
        client,
        "SELECT count() AS n, toUnixTimestamp64Milli(max(as_of)) AS at FROM demand_belief",
    ).to_pylist()[0]
    return int(rows["at"]) if rows["n"] else None


def demand_priors_version(client: Client) -> tuple[int, int]:
    """Another one when `demand_priors` has changed: its rows, and when the last one was made."""
    rows = select(
        client,
        "SELECT sum(n) AS n, max(at) AS at FROM (SELECT count() AS n,"
        " toUnixTimestamp64Micro(max(loaded_at)) AS at FROM demand_prior UNION ALL"
        " SELECT count(), toUnixTimestamp64Micro(max(learned_at)) FROM demand_belief)",
    ).to_pylist()[0]
    return int(rows["n"]), int(rows["at"] or 0)


def running_inserts(client: Client) -> int:
    """How many inserts the server is still working on; on a cluster, any of its servers."""
    spread = select(
        client,
        "SELECT extract(engine_full, 'Distributed\\(\\'([^\\']+)') AS cluster FROM system.tables"
        " WHERE database = currentDatabase() AND name = 'stream_commits'",
    )["cluster"].to_pylist()
    everywhere = f"clusterAllReplicas('{spread[0]}', system, processes)" if any(spread) else ""
    # What a server hands on to another runs there under the database's name, but not in it.
    rows = select(
        client,
        f"SELECT count() AS n FROM {everywhere or 'system.processes'} WHERE query_kind = 'Insert'"
        " AND (current_database = {database:String}"
        " OR startsWith(query, concat('INSERT INTO ', {database:String}, '.')))",
        parameters={"database": client.database},
    )
    return int(rows["n"][0].as_py())


def event_time_span_ms(client: Client, *, days: int) -> tuple[int | None, int | None]:
    """The last event time of the stored sales and movements, and the first of the `days` before it;
    None when there are none."""
    events = "(SELECT event_time FROM fact_sales UNION ALL SELECT event_time FROM fact_inventory)"
    rows = select(
        client,
        f"WITH (SELECT max(event_time) FROM {events}) AS newest"
        " SELECT toUnixTimestamp64Milli(min(event_time)) AS first,"
        " toUnixTimestamp64Milli(max(event_time)) AS last, count() AS n"
        f" FROM {events} WHERE event_time >= newest - toIntervalDay({days})",
    ).to_pylist()[0]
    return (rows["first"], rows["last"]) if rows["n"] else (None, None)


def last_prices(client: Client) -> dict[str, float]:
    """The unit price each product was last sold at."""
    rows = select(
        client,
        "SELECT product_id, toFloat64(argMax(unit_price, event_time)) AS price FROM fact_sales"
        " WHERE unit_price > 0 GROUP BY product_id",
    )
    return dict(zip(rows["product_id"].to_pylist(), rows["price"].to_pylist(), strict=True))


def alert_steps(
    client: Client, which: Literal["standing", "unsent"], *, since_ms: int = 0
) -> list[dict[str, Any]]:
    """The newest step of each alert that is not resolved, or was since `since_ms` (stream time); or
    every step not yet published."""
    condition = {
        "standing": "FROM restock_alerts WHERE state != 'resolved'"
        f" OR at >= fromUnixTimestamp64Milli({since_ms}, 'UTC')",
        "unsent": "FROM restock_alert_history FINAL WHERE (alert_id, version) NOT IN"
        " (SELECT alert_id, version FROM restock_alerts_published)",
    }[which]
    rows = select(
        client,
        "SELECT alert_id, version, toString(store_id) AS store_id, product_id, product_name,"
        " toString(region) AS region, toString(category) AS category, supplier_id, supplier_name,"
        " toString(state) AS state, toString(severity) AS severity, low_confidence, incident_id,"
        " risk, on_hand, daily_units, lead_time_days, days_of_cover, empty_p50_days,"
        " expected_lost_margin, explanation, toUnixTimestamp64Milli(opened_at) AS opened_at_ms,"
        " toUnixTimestamp64Milli(at) AS at_ms"
        f" {condition} ORDER BY recorded_at, alert_id, version",
    )
    return list(rows.to_pylist())
