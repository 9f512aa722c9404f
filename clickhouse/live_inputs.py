"""What the live score reads of supply and prices, by the key of the item (`cityHash64(store_id,
product_id)`, as `queries.stock_and_sales` gives it)."""

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import select

_KEY = "cityHash64(store_id, product_id) AS item_key"


def products(client: Client) -> pa.Table:
    """(product_id, supplier_id, lead_time_days, shelf_life_days), 0 where one is not known."""
    return select(
        client,
        "SELECT p.product_id AS product_id, p.supplier_id AS supplier_id,"
        " toFloat64(s.lead_time_days) AS lead_time_days,"
        " toInt64(ifNull(p.shelf_life_days, 0)) AS shelf_life_days"
        " FROM (SELECT * FROM dim_product FINAL) AS p"
        " LEFT JOIN (SELECT supplier_id, lead_time_days FROM dim_supplier FINAL) AS s"
        " ON s.supplier_id = p.supplier_id ORDER BY product_id",
    )


def orders(client: Client, *, as_of_ms: int, overdue_ms: int) -> pa.Table:
    """(item_key, supplier_id, ordered_ms, expected_ms, units) of orders placed up to a day from
    `as_of_ms` that have not been due for longer than `overdue_ms`, by key and time."""
    return select(
        client,
        "SELECT cityHash64(o.store_id, o.product_id) AS item_key, p.supplier_id AS supplier_id,"
        " toUnixTimestamp64Milli(o.ordered_at) AS ordered_ms,"
        " toUnixTimestamp64Milli(o.expected_at) AS expected_ms, toFloat64(o.units) AS units"
        " FROM (SELECT * FROM purchase_orders FINAL"
        "  WHERE expected_at > fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
        "  AND ordered_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')) AS o"
        " LEFT JOIN (SELECT product_id, supplier_id FROM dim_product FINAL) AS p"
        " ON p.product_id = o.product_id ORDER BY item_key, expected_ms",
        parameters={"since": as_of_ms - overdue_ms, "until": as_of_ms + 86_400_000},
    )


def promotions(client: Client, *, as_of_ms: int) -> pa.Table:
    """(item_key, ratio, from_ms, until_ms) of lower prices that have not ended, by key."""
    return select(
        client,
        f"SELECT {_KEY}, toFloat64(new_price) / toFloat64(old_price) AS ratio,"
        " toUnixTimestamp64Milli(effective_from) AS from_ms,"
        " toUnixTimestamp64Milli(assumeNotNull(effective_to)) AS until_ms FROM price_changes"
        " WHERE effective_to IS NOT NULL AND new_price < old_price AND old_price > 0"
        " AND effective_to > fromUnixTimestamp64Milli({now:Int64}, 'UTC')"
        " ORDER BY item_key, event_time",
        parameters={"now": as_of_ms},
    )


def deliveries(client: Client, *, as_of_ms: int, kept_ms: int) -> pa.Table:
    """(item_key, at_ms, units, mark) of what came within `kept_ms` of `as_of_ms`, or within a shelf
    life and a day; `mark` is set for deliveries, not for transfers."""
    return select(
        client,
        f"SELECT {_KEY}, toUnixTimestamp64Milli(event_time) AS at_ms,"
        " toFloat64(units) AS units, toUInt8(reason = 'delivery') AS mark"
        " FROM (SELECT * FROM deliveries FINAL) AS d"
        " LEFT JOIN (SELECT product_id, toInt64(ifNull(shelf_life_days, 0)) AS life"
        "  FROM dim_product FINAL) AS p ON p.product_id = d.product_id"
        " WHERE toUnixTimestamp64Milli(d.event_time) >="
        " {now:Int64} - greatest({kept:Int64}, 86400000 * (p.life + 1))",
        parameters={"now": as_of_ms, "kept": kept_ms},
    )


def turns(client: Client, *, since_ms: int) -> pa.Table:
    """(item_key, at_ms, units, mark) of shelves that went empty (`mark`) or were filled again."""
    return select(
        client,
        f"SELECT {_KEY}, toUnixTimestamp64Milli(event_time) AS at_ms,"
        " toFloat64(0) AS units, toUInt8(is_empty) AS mark FROM shelf_turns FINAL"
        " WHERE event_time >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')",
        parameters={"since": since_ms},
    )


def version(client: Client) -> tuple[int, int]:
    """Another one when `products`, `orders` or the learned model have changed: rows, and
    when the last was loaded."""
    loaded = " UNION ALL ".join(
        f"SELECT count() AS n, toUnixTimestamp64Micro(max({when})) AS at FROM {table}"
        for table, when in (
            ("dim_product", "loaded_at"),
            ("dim_supplier", "loaded_at"),
            ("purchase_orders", "loaded_at"),
            ("demand_model", "learned_at"),
        )
    )
    rows = select(
        client,
        f"SELECT sum(n) AS n, max(at) AS at FROM ({loaded})",
    ).to_pylist()[0]
    return int(rows["n"]), int(rows["at"] or 0)


def drifting(client: Client, *, before_ms: int, at_most: int) -> pa.Table:
    """(store_id, product_id) of shelves whose risk time alone can have moved by a hundredth, those
    scored longest ago first, and none that was scored after `before_ms`."""
    return select(
        client,
        "SELECT toString(store_id) AS store_id, product_id FROM stockout_risk FINAL"
        " WHERE risk BETWEEN 0.005 AND 0.995 AND on_hand > 0"
        " AND as_of < fromUnixTimestamp64Milli({before:Int64}, 'UTC')"
        " ORDER BY as_of, store_id, product_id LIMIT {n:Int64}",
        parameters={"before": before_ms, "n": at_most},
    ).cast(pa.schema([("store_id", pa.string()), ("product_id", pa.string())]))
