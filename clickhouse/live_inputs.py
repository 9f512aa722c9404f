"""What the live score reads of stock, demand, supply and prices, by the key of the item
(`cityHash64(store_id, product_id)`)."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import ITEM_KEYS, command, select

_KEY = "cityHash64(store_id, product_id) AS item_key"
# What `newest` of current_stock_states ends with.
_ON_HAND = "reinterpretAsInt32(toUInt32(bitAnd({}, 4294967295)))"
_IN_ITEMS = "item_key IN (SELECT cityHash64(store_id, product_id) FROM keys)"


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
        f"  {_ON_HAND.format('max(newest)')} AS on_hand"
        f"  FROM current_stock_states WHERE {_IN_ITEMS} GROUP BY item_key) AS s"
        " ON s.item_key = k.item_key"
        " LEFT JOIN (SELECT item_key, sum(units) AS units, sum(revenue) AS revenue"
        f"  FROM item_sales_daily WHERE {_IN_ITEMS}"
        f"  AND day >= toDate(toDateTime({since_s}, 'UTC')) GROUP BY item_key) AS v"
        " ON v.item_key = k.item_key",
        keys=(items, ITEM_KEYS),
    )


def item_keys(client: Client, items: pa.Table) -> npt.NDArray[np.uint64]:
    """The `item_key` of each row of `items` (store_id, product_id), (n,)."""
    numbered = items.append_column("n", pa.array(np.arange(items.num_rows, dtype=np.uint32)))
    sql = "SELECT cityHash64(store_id, product_id) AS item_key FROM keys ORDER BY n"
    rows = select(client, sql, keys=(numbered, f"{ITEM_KEYS}, n UInt32"))
    return np.asarray(rows["item_key"].to_numpy(), dtype=np.uint64)


def shelf_count(client: Client) -> int:
    """How many shelves were ever reported, or a few more."""
    rows = select(client, "SELECT count() AS n FROM current_stock_states").to_pylist()
    return int(rows[0]["n"])


def newest_reports(client: Client) -> pa.Table:
    """(item_key, sequence, at_ms, offset, on_hand) of the newest report of every shelf."""
    return select(
        client,
        "SELECT item_key,"
        " reinterpretAsInt64(bitXor(toUInt64(bitShiftRight(last, 192)), 9223372036854775808))"
        " AS sequence,"
        " reinterpretAsInt64(toUInt64(bitAnd(bitShiftRight(last, 128), 18446744073709551615)))"
        " AS at_ms,"
        " reinterpretAsInt64(toUInt64(bitAnd(bitShiftRight(last, 64), 18446744073709551615)))"
        f" AS offset, {_ON_HAND.format('last')} AS on_hand"
        " FROM (SELECT item_key, max(newest) AS last FROM current_stock_states GROUP BY item_key"
        " SETTINGS optimize_aggregation_in_order = 1)",
    )


def sales_since(client: Client, *, since_day: int) -> pa.Table:
    """(item_key, units, revenue) of every shelf that sold since a UTC day (days since 1970)."""
    return select(
        client,
        "SELECT item_key, sum(units) AS units, toDecimal64(sum(revenue), 4) AS revenue"
        f" FROM item_sales_daily WHERE day >= toDate({since_day}) GROUP BY item_key"
        " SETTINGS optimize_aggregation_in_order = 1",
    )


def demand_priors(client: Client) -> pa.Table:
    """(item_key, daily_units, weight_days, dispersion, lead_time_days, first_seen_ms) of every item
    of which something is known: what was learned of it, else the prior that was loaded. 0 where a
    weight, the item's own lead time or its first report is not known."""
    return select(
        client,
        "SELECT item_key, toFloat32(daily_units) AS daily_units,"
        " toFloat32(weight_days) AS weight_days, toFloat32(dispersion) AS dispersion,"
        " toFloat32(lead_time_days) AS lead_time_days, toInt64(first_seen_ms) AS first_seen_ms FROM"
        " (SELECT cityHash64(b.store_id, b.product_id) AS item_key, b.a / b.b AS daily_units,"
        "  b.b AS weight_days, b.dispersion AS dispersion, d.lead_time_days AS lead_time_days,"
        "  toUnixTimestamp64Milli(b.first_seen) AS first_seen_ms"
        "  FROM (SELECT * FROM demand_belief FINAL) AS b"
        "  LEFT JOIN (SELECT store_id, product_id, lead_time_days FROM demand_prior FINAL) AS d"
        "  ON d.store_id = b.store_id AND d.product_id = b.product_id"
        "  UNION ALL"
        "  SELECT cityHash64(store_id, product_id) AS item_key, daily_units, 0 AS weight_days,"
        "  dispersion, lead_time_days, 0 AS first_seen_ms FROM demand_prior FINAL"
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


def count_shelves(client: Client) -> None:
    """Write how many shelves of each store have stock. On one core, and after what people ask."""
    command(
        client,
        "INSERT INTO shelf_counts SELECT store_id, count(), countIf(on_hand > 0),"
        " assumeNotNull((SELECT complete_until FROM movements_complete_until)), now64(3)"
        " FROM current_stock GROUP BY store_id SETTINGS max_threads = 1, priority = 10",
    )


def drifting(
    client: Client, *, after: str, shelves: int, before_ms: int, at_most: int
) -> tuple[pa.Table, str]:
    """(store_id, product_id) of shelves whose risk time alone can have moved by a hundredth, those
    scored longest ago first, and none that was scored after `before_ms`; and the last store looked
    at. Looked at are the stores that follow `after`, until they have so many `shelves`: all of a
    large chain would take seconds. The first store follows the last one, and ""."""
    last = select(
        client,
        "SELECT toString(max(store_id)) AS last FROM (SELECT store_id,"
        " sum(n) OVER (ORDER BY store_id) - n AS before FROM (SELECT store_id, count() AS n"
        " FROM stockout_risk WHERE store_id > {after:String} GROUP BY store_id))"
        " WHERE before < {shelves:UInt64}",
        parameters={"after": after, "shelves": shelves},
    )["last"][0].as_py()
    if after and not last:
        return drifting(client, after="", shelves=shelves, before_ms=before_ms, at_most=at_most)
    found = select(
        client,
        "SELECT toString(store_id) AS store_id, product_id FROM stockout_risk FINAL"
        " WHERE store_id > {after:String} AND store_id <= {last:String}"
        " AND risk BETWEEN 0.005 AND 0.995 AND on_hand > 0"
        " AND as_of < fromUnixTimestamp64Milli({before:Int64}, 'UTC')"
        " ORDER BY as_of, store_id, product_id LIMIT {n:Int64}",
        parameters={"after": after, "last": last, "before": before_ms, "n": at_most},
    )
    return found.cast(pa.schema([("store_id", pa.string()), ("product_id", pa.string())])), last
