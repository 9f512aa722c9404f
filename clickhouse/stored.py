"""What a start looks at and mends: rows that were stored but not committed, and all that is derived
from facts."""

from collections.abc import Sequence

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import FACT_TABLES, ITEM_KEYS, command, select

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


def offsets_in(client: Client, ranges: Ranges, *, tables: Sequence[str]) -> pa.Table:
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
        keys=(items, ITEM_KEYS),
    )


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
