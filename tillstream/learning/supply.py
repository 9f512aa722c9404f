"""When goods come: orders on their way, and one that would be placed now."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clickhouse import queries
from clickhouse.client import Client
from tillstream.learning.exposure import DAY_MS, HOUR_MS

Ints = NDArray[np.int64]

# Time of the UTC day at which trucks come, where no delivery has shown otherwise.
DEFAULT_TRUCK_MS = 10 * HOUR_MS

# Orders that fell due within a week or will, with the newest delivery of their item.
_DUE = """
SELECT o.store_id AS store_id, o.product_id AS product_id, p.supplier_id AS supplier_id,
       o.units AS units, toUnixTimestamp64Milli(o.expected_at) AS expected_ms,
       d.delivered_ms AS delivered_ms
FROM
(
    SELECT * FROM purchase_orders FINAL
    WHERE ordered_at < toDateTime({until:Int64}, 'UTC')
      AND expected_at > toDateTime({until:Int64}, 'UTC') - INTERVAL 7 DAY
) AS o
LEFT JOIN
(
    SELECT store_id, product_id, max(toUnixTimestamp64Milli(event_time)) AS delivered_ms
    FROM deliveries
    WHERE reason = 'delivery' AND event_time < toDateTime({until:Int64}, 'UTC')
      AND event_time > toDateTime({until:Int64}, 'UTC') - INTERVAL 8 DAY
    GROUP BY store_id, product_id
) AS d ON d.store_id = o.store_id AND d.product_id = o.product_id
LEFT JOIN (SELECT product_id, supplier_id FROM dim_product FINAL) AS p
    ON p.product_id = o.product_id
ORDER BY store_id, product_id, expected_ms"""
_TRUCKS = """
SELECT d.time_zone AS time_zone, f.store_id AS store_id,
       median(toUnixTimestamp64Milli(f.event_time) % 86400000) AS day_ms
FROM deliveries AS f
LEFT JOIN (SELECT store_id, time_zone FROM dim_store FINAL) AS d ON d.store_id = f.store_id
WHERE f.reason = 'delivery' AND f.event_time < toDateTime({until:Int64}, 'UTC')
  AND f.event_time > toDateTime({until:Int64}, 'UTC') - INTERVAL 28 DAY
GROUP BY time_zone, store_id"""

# Goods that may still be on a shelf where they do not keep.
_FRESH = """
SELECT f.store_id AS store_id, f.product_id AS product_id,
       toUnixTimestamp64Milli(f.event_time) AS came_ms, f.units AS units
FROM (SELECT * FROM deliveries FINAL) AS f
INNER JOIN
(
    SELECT product_id, assumeNotNull(shelf_life_days) AS life FROM dim_product FINAL
    WHERE shelf_life_days > 0
) AS p ON p.product_id = f.product_id
WHERE f.event_time < toDateTime({until:Int64}, 'UTC')
  AND f.event_time >= toDateTime({until:Int64}, 'UTC') - toIntervalDay(p.life + 1)
ORDER BY store_id, product_id"""


def due_orders(client: Client, *, as_of_ms: int) -> pa.Table:
    """(store_id, product_id, supplier_id, units, expected_ms, delivered_ms) of orders that fell due
    within a week or will, in order of item and time; `delivered_ms` is their item's newest
    delivery, 0 for none within eight days."""
    return queries.select(client, _DUE, parameters={"until": as_of_ms // 1000})


def fresh_goods(client: Client, *, as_of_ms: int) -> pa.Table:
    """(store_id, product_id, came_ms, units) of what came of perishables within a shelf life."""
    return queries.select(client, _FRESH, parameters={"until": as_of_ms // 1000})


def truck_ms_of_day(client: Client, *, as_of_ms: int) -> dict[str, int]:
    """At which time of the UTC day (milliseconds) each store's deliveries usually come."""
    rows = queries.select(client, _TRUCKS, parameters={"until": as_of_ms // 1000})
    return dict(
        zip(rows["store_id"].to_pylist(), map(int, rows["day_ms"].to_pylist()), strict=True)
    )


def arrival_ms(
    as_of_ms: int, lead_days: NDArray[np.float64], *, offset_ms: Ints, truck_ms: Ints
) -> Ints:
    """When an order placed now arrives (n,): `lead_days` after the store's own date, with its truck
    (time of the UTC day). `offset_ms` is local time less UTC."""
    midnight = (as_of_ms + offset_ms) // DAY_MS * DAY_MS - offset_ms
    local_truck = (truck_ms + offset_ms) % DAY_MS
    at = midnight + np.ceil(lead_days).astype(np.int64) * DAY_MS + local_truck
    return np.asarray(np.maximum(at, as_of_ms + HOUR_MS))
