"""Rows of parts that could not be read, derived again from the facts.

ClickHouse puts a part that it cannot read aside when it loads the table, and serves the older
parts that it was merged from, if they are still there. Whatever they lack of a derived table, the
facts have. A part of a fact table has no such source here: `tillstream verify` says what is gone.
"""

from dataclasses import dataclass

from clickhouse.client import ClickHouseError, Client
from clickhouse.queries import FACT_TABLES, command
from clickhouse.stored import NEWEST_REPORT
from tillstream.errors import ServiceError

_NOT_ALLOWED = 497

# What is added is the difference between the source and the sums as they are now, so that running
# it again adds nothing. Days follow windows by a view: so their turn comes after.
_WINDOWS = (
    "INSERT INTO velocity_5m_sums"
    " SELECT store_id, product_id, window_start, sum(u) AS units, sum(r) AS revenue,"
    " sum(l) AS lines FROM ("
    "  SELECT store_id, product_id, window_start, toInt64(quantity) AS u,"
    "   toDecimal128(revenue, 4) AS r, toInt64(1) AS l FROM fact_sales"
    "  UNION ALL"
    "  SELECT store_id, product_id, window_start, -units, -revenue, -lines FROM velocity_5m_sums"
    " ) GROUP BY store_id, product_id, window_start"
    " HAVING units != 0 OR revenue != 0 OR lines != 0"
)
_DAYS = (
    "INSERT INTO item_sales_daily"
    " SELECT item_key, day, store_id, product_id, sum(u) AS units, sum(r) AS revenue FROM ("
    "  SELECT cityHash64(store_id, product_id) AS item_key, toDate(window_start) AS day,"
    "   store_id, product_id, units AS u, revenue AS r FROM velocity_5m_sums"
    "  UNION ALL"
    "  SELECT item_key, day, store_id, product_id, -units, -revenue FROM item_sales_daily"
    " ) GROUP BY item_key, day, store_id, product_id HAVING units != 0 OR revenue != 0"
)
# A maximum taken twice, a row of an index that is there twice, a row that replaces its like:
# these change nothing.
_STOCK = (
    "INSERT INTO current_stock_states"
    f" SELECT cityHash64(store_id, product_id) AS item_key, store_id, product_id, {NEWEST_REPORT}"
    " AS newest FROM fact_inventory GROUP BY item_key, store_id, product_id"
)
_INDEX = tuple(
    "INSERT INTO event_index (event_key, arrival, topic_id, partition, offset)"
    f" SELECT event_key, arrival, topic_id, partition, offset FROM {table}"
    for table in FACT_TABLES
)
_TURNS = (
    "INSERT INTO shelf_turns"
    " SELECT store_id, product_id, event_time, sequence, quantity_on_hand <= 0 AS is_empty"
    " FROM fact_inventory"
    " WHERE (quantity_on_hand <= 0) != (quantity_on_hand - quantity_change <= 0)"
)
_DELIVERIES = (
    "INSERT INTO deliveries (store_id, product_id, event_time, event_key, reason, units)"
    " SELECT store_id, product_id, event_time, event_key, reason, quantity_change AS units"
    " FROM fact_inventory WHERE reason IN ('delivery', 'transfer_in') AND quantity_change > 0"
)
_RISK = "INSERT INTO stockout_risk SELECT * FROM stockout_risk_history"

_AGAIN: dict[str, tuple[str, ...]] = {
    "velocity_5m_sums": (_WINDOWS, _DAYS),
    "item_sales_daily": (_WINDOWS, _DAYS),
    "current_stock_states": (_STOCK,),
    "event_index": _INDEX,
    "shelf_turns": (_TURNS,),
    "deliveries": (_DELIVERIES,),
    "stockout_risk": (_RISK,),
}


@dataclass(frozen=True, slots=True)
class PutAside:
    """A part in a table's `detached` folder that could not be read."""

    table: str
    name: str

    @property
    def is_derived(self) -> bool:
        return self.table in _AGAIN


def put_aside(client: Client) -> list[PutAside]:
    """The parts of this database that could not be read, oldest first; none where the user may not
    look (deploy/clickhouse/users.sql): there the server's operator does what has to be done."""
    try:
        rows = client.query(
            "SELECT table, name FROM system.detached_parts WHERE database = currentDatabase()"
            " AND startsWith(reason, 'broken') ORDER BY modification_time, name"
        ).result_rows
    except ClickHouseError as exc:
        if getattr(exc, "code", None) == _NOT_ALLOWED:
            return []
        raise ServiceError(f"cannot look for damaged parts: {exc}") from exc
    return [PutAside(table, name) for table, name in rows]


def derive_again(client: Client, parts: list[PutAside]) -> None:
    """Bring the tables of `parts` in line with what they are derived from, then drop the parts.
    Nobody else may be writing. Interrupted, it may be run again."""
    for statement in dict.fromkeys(one for part in parts for one in _AGAIN[part.table]):
        command(client, statement)
    for part in parts:
        command(
            client,
            f"ALTER TABLE {part.table} DROP DETACHED PART '{part.name}'"
            " SETTINGS allow_drop_detached = 1",
        )
