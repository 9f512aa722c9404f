"""Daily sales from the warehouse, as the forecasts need them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clickhouse import queries
from clickhouse.client import Client
from tillstream.errors import ConfigError
from tillstream.learning.evidence import Names, ints, rows_of
from tillstream.learning.exposure import DAY_MS, utc_offset_ms
from tillstream.ml.calendar import number_of
from tillstream.ml.features import HORIZON_DAYS
from tillstream.ml.panel import Panel

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StoreGroup:
    """Stores that are looked at together, and about how many shelves they have."""

    stores: tuple[str, ...]
    shelves: int


@dataclass(frozen=True, slots=True)
class Sales:
    """`items` (store_id, product_id) has the rows of the panel, in order of both."""

    items: pa.Table
    panel: Panel
    revenue: Floats


def read(client: Client, *, last_day: date, days: int, stores: Sequence[str] = ()) -> Sales:
    """The `days` up to and with `last_day`, by the stores' own dates; fewer when there are fewer.
    Of all stores, where none are named.

    Nothing of a later day is read, but for plans that were announced before: promotions. Raises
    ConfigError when nothing was sold.
    """
    span = {
        "first": str(last_day - timedelta(days=days - 1)),
        "last": str(last_day),
        "stores": list(stores),
    }

    def rows(sql: str) -> pa.Table:
        return queries.select(client, sql.replace("{in_stores}", _IN_STORES), parameters=span)

    items, sold = rows(_ITEMS), rows(_SOLD)
    if not sold.num_rows:
        raise ConfigError(
            f"nothing was sold from {span['first']} to {span['last']}: nothing to forecast from",
            hint="replay or simulate sales, or choose another day",
        )
    day = ints(sold["day"])
    first = int(day.min())
    count = number_of(last_day) - first + 1
    units, revenue = (np.zeros((items.num_rows, count), dtype=np.float32) for _ in range(2))
    at = rows_of(items, sold)
    units[at, day - first] = sold["units"].to_numpy()
    revenue[at, day - first] = sold["revenue"].to_numpy()
    promotion, price = _plans(items, rows(_PRICES), first=first, days=count + HORIZON_DAYS)
    panel = Panel(
        first_day=first,
        units=np.maximum(units, 0.0),
        in_stock=_in_stock(items, rows(_TURNS), first=first, days=count),
        promotion=promotion,
        price=price,
        store=Names.of(items["store_id"]).number,
        product=Names.of(items["product_id"]).number,
        category=Names.of(items["category"]).number,
    )
    return Sales(items, panel, revenue)


def store_groups(
    client: Client, *, last_day: date, days: int, most_shelves: int
) -> list[StoreGroup]:
    """The stores that sold anything in the `days` up to `last_day`, in groups of at most
    `most_shelves`, or of one larger store; one group of none where nobody did. Their order has
    nothing to do with names, so each group is a fair sample of the chain."""
    span = {"first": str(last_day - timedelta(days=days - 1)), "last": str(last_day)}
    found = queries.select(client, _STORES, parameters=span).to_pylist()
    groups = [StoreGroup((), 0)]
    for row in found:
        last = groups[-1]
        if last.stores and last.shelves + row["shelves"] > most_shelves:
            groups.append(last := StoreGroup((), 0))
        groups[-1] = StoreGroup((*last.stores, row["store_id"]), last.shelves + row["shelves"])
    return groups


def _in_stock(items: pa.Table, turns: pa.Table, *, first: int, days: int) -> Floats:
    """The share of each day that a shelf was not empty by its books, from the day it was listed."""
    listed = ints(items["listed"]) - first
    share = (np.arange(days) >= listed[:, None]).astype(np.float32)
    row = rows_of(items, turns)
    empty = turns["is_empty"].to_numpy(zero_copy_only=False).astype(bool)
    zone = Names.of(items["time_zone"])
    at_ms = ints(turns["at_ms"])
    offset = np.zeros(len(at_ms), dtype=np.int64)
    for number, name in enumerate(zone.values):
        here = (row >= 0) & (zone.number[np.maximum(row, 0)] == number)
        order = np.argsort(at_ms[here])
        found = np.empty(int(here.sum()), dtype=np.int64)
        found[order] = utc_offset_ms(name, at_ms[here][order])
        offset[here] = found
    at = (at_ms + offset) / DAY_MS - first
    # Turns come by item and sequence; an item's state lasts until its next, or to the end.
    same = np.append(row[1:] == row[:-1], False)
    until = np.where(same, np.append(at[1:], 0.0), days)
    gone = empty & (row >= 0)
    for item, start, end in zip(row[gone], at[gone], until[gone], strict=True):
        begin, stop = max(start, 0.0), min(end, float(days))
        touched = np.arange(int(begin), int(np.ceil(stop)))
        if len(touched):
            lost = np.minimum(touched + 1, stop) - np.maximum(touched, begin)
            share[item, touched] -= lost.astype(np.float32)
    return np.clip(share, 0.0, 1.0)


def _plans(items: pa.Table, prices: pa.Table, *, first: int, days: int) -> tuple[Floats, Floats]:
    """Each day's share under a promotion, and its price over the usual one."""
    promotion = np.zeros((items.num_rows, days), dtype=np.float32)
    price = np.ones((items.num_rows, days), dtype=np.float32)
    row = rows_of(items, prices)
    start = ints(prices["from_ms"]) / DAY_MS - first
    end = ints(prices["until_ms"]) / DAY_MS - first
    ratio = prices["ratio"].to_numpy()
    for at in np.flatnonzero(row >= 0):
        begin, stop = max(start[at], 0.0), min(end[at], float(days))
        touched = np.arange(int(begin), int(np.ceil(stop)))
        if len(touched):
            share = np.minimum(touched + 1, stop) - np.maximum(touched, begin)
            promotion[row[at], touched] = np.minimum(1.0, promotion[row[at], touched] + share)
            price[row[at], touched] += (share * (ratio[at] - 1.0)).astype(np.float32)
    return promotion, np.maximum(price, 0.05)


_STORES = """
SELECT store_id, uniq(product_id) AS shelves
FROM
(
    SELECT store_id, product_id, 0 AS is_sold FROM fact_inventory WHERE date_key <= {last:Date}
    UNION ALL
    SELECT store_id, product_id, date_key >= {first:Date} AS is_sold FROM fact_sales
    WHERE date_key <= {last:Date}
)
GROUP BY store_id
HAVING max(is_sold)
ORDER BY sipHash64(store_id), store_id"""
_IN_STORES = "(empty({stores:Array(String)}) OR store_id IN {stores:Array(String)})"
# A shelf is listed from its first report or sale on; its stores' clock says which day that is.
_ITEMS = """
SELECT i.store_id AS store_id, i.product_id AS product_id, i.listed AS listed,
       p.category AS category, if(d.time_zone = '', 'UTC', d.time_zone) AS time_zone
FROM
(
    SELECT store_id, product_id, toInt64(toUInt32(min(first))) AS listed
    FROM
    (
        SELECT store_id, product_id, min(date_key) AS first FROM fact_inventory
        WHERE date_key <= {last:Date} AND {in_stores} GROUP BY store_id, product_id
        UNION ALL
        SELECT store_id, product_id, min(date_key) AS first FROM fact_sales
        WHERE date_key <= {last:Date} AND {in_stores} GROUP BY store_id, product_id
    )
    GROUP BY store_id, product_id
) AS i
LEFT JOIN (SELECT product_id, category FROM dim_product FINAL) AS p ON p.product_id = i.product_id
LEFT JOIN (SELECT store_id, time_zone FROM dim_store FINAL) AS d ON d.store_id = i.store_id
ORDER BY store_id, product_id"""
_SOLD = """
SELECT store_id, product_id, toInt64(toUInt32(date_key)) AS day,
       toFloat32(sum(quantity)) AS units, toFloat32(sum(revenue)) AS revenue
FROM fact_sales WHERE date_key >= {first:Date} AND date_key <= {last:Date} AND {in_stores}
GROUP BY store_id, product_id, date_key"""
_TURNS = """
SELECT store_id, product_id, toUnixTimestamp64Milli(event_time) AS at_ms, is_empty
FROM shelf_turns FINAL
WHERE event_time < toDateTime({last:Date} + 1, 'UTC') AND {in_stores}
ORDER BY store_id, product_id, event_time, sequence"""
# A promotion is a price that goes back up by itself. What was announced later is not known yet.
_PRICES = """
SELECT store_id, product_id, toFloat64(new_price) / toFloat64(old_price) AS ratio,
       toUnixTimestamp64Milli(effective_from) AS from_ms,
       toUnixTimestamp64Milli(assumeNotNull(effective_to)) AS until_ms
FROM price_changes
WHERE effective_to IS NOT NULL AND new_price < old_price AND old_price > 0
  AND effective_to > toDateTime({first:Date}, 'UTC')
  AND date_key <= {last:Date} AND {in_stores}"""
