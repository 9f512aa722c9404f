"""What the warehouse knows of sales, stock and supply before a moment, as columns.

Nothing from after that moment is read, so that a past night can be learned again.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clickhouse import queries
from clickhouse.client import Client
from tillstream.learning.exposure import DAY_MS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Names:
    """`values` sorted, and the number of each row in them."""

    values: list[str]
    number: Ints

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "Names":
        encoded = column.combine_chunks().dictionary_encode()
        order = np.argsort(np.array(encoded.dictionary.to_pylist(), dtype=object))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        values = [encoded.dictionary[int(at)].as_py() for at in order]
        return cls(values, rank[encoded.indices.to_numpy(zero_copy_only=False)])


@dataclass(frozen=True, slots=True)
class Evidence:
    """`items` has a row for each store and product ever reported, in order of both; other tables
    point at them by `row`."""

    as_of_ms: int
    since_ms: int
    items: pa.Table
    turns: pa.Table
    promotions: pa.Table
    counts: pa.Table
    hours: pa.Table
    arrivals: pa.Table


def read(client: Client, *, as_of_ms: int, days: int, half_life_days: float) -> Evidence:
    """Everything of the `days` before `as_of_ms`, which must be a UTC midnight: days are whole."""
    if as_of_ms % DAY_MS:
        raise ValueError("days are whole: as_of_ms must be a UTC midnight")
    since_ms = as_of_ms - days * DAY_MS
    span = {"since": since_ms // 1000, "until": as_of_ms // 1000, "half": half_life_days}

    def rows(sql: str) -> pa.Table:
        return queries.select(client, sql, parameters=span)

    items = rows(_ITEMS)
    return Evidence(
        as_of_ms=as_of_ms,
        since_ms=since_ms,
        items=items,
        turns=rows(_TURNS),
        promotions=rows(_PROMOTIONS),
        counts=rows(_COUNTS),
        hours=rows(_HOURS),
        arrivals=rows(_ARRIVALS),
    )


def rows_of(items: pa.Table, other: pa.Table) -> Ints:
    """The row in `items` of each row of `other` by store_id and product_id, -1 where there is
    none."""
    numbered = items.select(["store_id", "product_id"]).append_column(
        "row", pa.array(np.arange(items.num_rows))
    )
    keyed = other.select(["store_id", "product_id"]).append_column(
        "at", pa.array(np.arange(other.num_rows))
    )
    found = keyed.join(numbered, ["store_id", "product_id"], join_type="left outer")
    row = np.full(other.num_rows, -1, dtype=np.int64)
    row[found["at"].to_numpy()] = found["row"].fill_null(-1).to_numpy()
    return row


def ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), dtype=np.int64)


_BEFORE = (
    "event_time >= toDateTime({since:Int64}, 'UTC')"
    " AND event_time < toDateTime({until:Int64}, 'UTC')"
)
# Stock is what was reported last, whenever that was; sales are those of the span.
_ITEMS = f"""
SELECT s.store_id AS store_id, s.product_id AS product_id,
       toUnixTimestamp64Milli(s.first_seen) AS first_seen_ms,
       s.first_on_hand AS first_on_hand, s.on_hand AS on_hand,
       v.units AS units, v.recent AS recent, v.squares AS squares,
       v.promoted AS promoted,
       p.category AS category, p.supplier_id AS supplier_id,
       p.shelf_life_days AS shelf_life_days,
       l.lead_time_days AS lead_time_days, g.daily_units AS given_daily_units,
       if(d.time_zone = '', 'UTC', d.time_zone) AS time_zone
FROM
(
    SELECT store_id, product_id, min(event_time) AS first_seen,
           argMin(quantity_on_hand, (sequence, event_time, offset)) AS first_on_hand,
           argMax(quantity_on_hand, (sequence, event_time, offset)) AS on_hand
    FROM fact_inventory WHERE event_time < toDateTime({{until:Int64}}, 'UTC')
    GROUP BY store_id, product_id
) AS s
LEFT JOIN
(
    SELECT store_id, product_id, sum(sold) AS units, sum(pow(sold, 2)) AS squares,
           sum(sold * exp2((toInt64(day) + 0.5 - {{until:Int64}} / 86400) / {{half:Float64}}))
               AS recent,
           sum(cheap) AS promoted
    FROM
    (
        SELECT store_id, product_id, toDate(event_time) AS day, sum(quantity) AS sold,
               sumIf(quantity, promotion_id IS NOT NULL) AS cheap
        FROM fact_sales WHERE {_BEFORE}
        GROUP BY store_id, product_id, day
    )
    GROUP BY store_id, product_id
) AS v ON v.store_id = s.store_id AND v.product_id = s.product_id
LEFT JOIN
(
    SELECT product_id, category, supplier_id, shelf_life_days FROM dim_product FINAL
) AS p ON p.product_id = s.product_id
LEFT JOIN (SELECT supplier_id, lead_time_days FROM dim_supplier FINAL) AS l
    ON l.supplier_id = p.supplier_id
LEFT JOIN (SELECT store_id, time_zone FROM dim_store FINAL) AS d
    ON d.store_id = s.store_id
LEFT JOIN (SELECT store_id, product_id, daily_units FROM demand_prior FINAL) AS g
    ON g.store_id = s.store_id AND g.product_id = s.product_id
ORDER BY store_id, product_id"""
_TURNS = f"""
SELECT store_id, product_id, toUnixTimestamp64Milli(event_time) AS at_ms, is_empty
FROM shelf_turns FINAL WHERE {_BEFORE}
ORDER BY store_id, product_id, sequence, at_ms"""
_PROMOTIONS = """
SELECT store_id, product_id, toFloat64(new_price) / toFloat64(old_price) AS ratio,
       toUnixTimestamp64Milli(effective_from) AS from_ms,
       toUnixTimestamp64Milli(assumeNotNull(effective_to)) AS until_ms
FROM price_changes
WHERE effective_to IS NOT NULL AND new_price < old_price AND old_price > 0
  AND effective_from < toDateTime({until:Int64}, 'UTC')
  AND effective_to > toDateTime({since:Int64}, 'UTC')
  AND event_time < toDateTime({until:Int64}, 'UTC')"""
# The first report of a shelf says what the books hold, not what was found.
_COUNTS = f"""
SELECT quantity_on_hand - quantity_change AS recorded, quantity_on_hand AS found
FROM fact_inventory WHERE reason = 'count' AND sequence > 1 AND {_BEFORE}"""
_HOURS = f"""
SELECT if(d.time_zone = '', 'UTC', d.time_zone) AS time_zone,
       toInt64(toUnixTimestamp(toStartOfHour(f.event_time))) * 1000 AS hour_ms,
       count() AS lines
FROM fact_sales AS f
LEFT JOIN (SELECT store_id, time_zone FROM dim_store FINAL) AS d ON d.store_id = f.store_id
WHERE f.quantity > 0 AND {_BEFORE.replace("event_time", "f.event_time")}
GROUP BY time_zone, hour_ms"""
# Orders that fell due, and the first delivery not before the day before each was due.
_ARRIVALS = """
SELECT o.supplier_id AS supplier_id,
       round(dateDiff('second', o.expected_at, f.event_time) / 86400) AS late_days
FROM
(
    SELECT p.supplier_id AS supplier_id, o.store_id AS store_id, o.product_id AS product_id,
           o.expected_at AS expected_at, o.expected_at - INTERVAL 12 HOUR AS from_when
    FROM (SELECT * FROM purchase_orders FINAL) AS o
    LEFT JOIN (SELECT product_id, supplier_id FROM dim_product FINAL) AS p
        ON p.product_id = o.product_id
    WHERE o.expected_at >= toDateTime({since:Int64}, 'UTC')
      AND o.expected_at < toDateTime({until:Int64}, 'UTC') - INTERVAL 7 DAY
) AS o
ASOF JOIN
(
    SELECT store_id, product_id, event_time FROM fact_inventory
    WHERE reason = 'delivery' AND event_time < toDateTime({until:Int64}, 'UTC')
) AS f ON f.store_id = o.store_id AND f.product_id = o.product_id AND o.from_when <= f.event_time"""
