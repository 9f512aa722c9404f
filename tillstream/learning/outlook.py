"""The risk of every item at a moment, from what was learned and what was known by then."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clickhouse.client import Client
from tillstream.demand.expiry import Goods
from tillstream.learning.evidence import Evidence, Names, ints, read, rows_of
from tillstream.learning.exposure import DAY_MS, utc_offset_ms
from tillstream.learning.learn import Learned, learn
from tillstream.learning.orders import Orders
from tillstream.learning.shelves import Chain, Shelves, look_ahead
from tillstream.learning.stored import DAYS, HALF_LIFE_DAYS
from tillstream.learning.supply import (
    DEFAULT_TRUCK_MS,
    due_orders,
    fresh_goods,
    truck_ms_of_day,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEFAULT_LEAD_DAYS = 2.0


@dataclass(frozen=True, slots=True)
class Known:
    """What a score needs beside what was learned, all known at the evidence's moment."""

    evidence: Evidence
    orders: pa.Table
    fresh: pa.Table
    trucks: Mapping[str, int]


def known(client: Client, *, as_of_ms: int, days: int, half_life_days: float) -> Known:
    """Raises ServiceError."""
    return Known(
        read(client, as_of_ms=as_of_ms, days=days, half_life_days=half_life_days),
        due_orders(client, as_of_ms=as_of_ms),
        fresh_goods(client, as_of_ms=as_of_ms),
        truck_ms_of_day(client, as_of_ms=as_of_ms),
    )


def believed(
    client: Client,
    *,
    as_of_ms: int,
    days: int = DAYS,
    half_life_days: float = HALF_LIFE_DAYS,
) -> tuple[Known, Learned]:
    """What is known at `as_of_ms`, a UTC midnight, and learned from the `days` before."""
    now = known(client, as_of_ms=as_of_ms, days=days, half_life_days=half_life_days)
    return now, learn(now.evidence, half_life_days=half_life_days)


def risks(now: Known, learned: Learned) -> pa.Table:
    """(store_id, product_id, risk) of every item reported before the evidence's moment."""
    items = now.evidence.items.select(["store_id", "product_id"])
    if not items.num_rows:
        return items.append_column("risk", pa.array([], pa.float64()))
    found = look_ahead(_shelves(now, learned), Chain.of(learned))
    return items.append_column("risk", pa.array(found.risk))


def _shelves(now: Known, learned: Learned) -> Shelves:
    items, as_of_ms = now.evidence.items, now.evidence.as_of_ms
    lead = np.asarray(items["lead_time_days"].fill_null(0).to_numpy(), dtype=np.float64)
    suppliers = Names.of(items["supplier_id"])
    coming, held_ms = _orders(now, suppliers)
    late = learned.lateness
    shares = [late.by_supplier.get(name, late.share) for name in suppliers.values]
    boost, boost_until_ms = _boost(now, learned)
    return Shelves(
        as_of_ms=as_of_ms,
        belief=learned.belief,
        recorded=ints(items["on_hand"]),
        lead_days=np.where(lead > 0, lead, DEFAULT_LEAD_DAYS),
        late_share=np.array(shares)[suppliers.number],
        held_ms=held_ms,
        offset_ms=_offsets(items, as_of_ms),
        truck_ms=np.array(
            [now.trucks.get(s, DEFAULT_TRUCK_MS) for s in items["store_id"].to_pylist()]
        ),
        life_days=_shelf_lives(now),
        boost=boost,
        boost_until_ms=boost_until_ms,
        coming=coming,
        came=_goods(now, now.fresh, "came_ms"),
    )


def _orders(now: Known, suppliers: Names) -> tuple[Goods, Ints]:
    """(orders on their way, for how long the supplier of each item has delivered nothing)."""
    orders, as_of_ms = now.orders, now.evidence.as_of_ms
    number = {name: at for at, name in enumerate(suppliers.values)}
    # Suppliers of nothing that was ever reported are of no interest, and share a number.
    nobody = len(number)
    found = Orders(
        supplier=np.array(
            [number.get(name, nobody) for name in orders["supplier_id"].to_pylist()], dtype=np.int64
        ),
        expected_ms=ints(orders["expected_ms"]),
        delivered_ms=ints(orders["delivered_ms"].fill_null(0)),
    )
    held_ms = found.held_up_ms(as_of_ms, suppliers=nobody + 1)
    coming = _goods(now, orders.filter(pa.array(found.missing(as_of_ms))), "expected_ms")
    return coming, held_ms[suppliers.number]


def _offsets(items: pa.Table, as_of_ms: int) -> Ints:
    """Local time less UTC of each item's store now, in milliseconds."""
    zones = Names.of(items["time_zone"])
    now = np.array([as_of_ms])
    return np.array([int(utc_offset_ms(name, now)[0]) for name in zones.values])[zones.number]


def _boost(now: Known, learned: Learned) -> tuple[Floats, Ints]:
    """How much more an item sells by the promotion it is in, and until when."""
    as_of_ms, n = now.evidence.as_of_ms, now.evidence.items.num_rows
    boost, until = np.ones(n), np.full(n, as_of_ms)
    found = now.evidence.promotions
    row = rows_of(now.evidence.items, found)
    from_ms, until_ms = ints(found["from_ms"]), ints(found["until_ms"])
    running = (row >= 0) & (from_ms <= as_of_ms) & (until_ms > as_of_ms)
    ratio = np.clip(found["ratio"].to_numpy()[running], 0.1, 1.0)
    boost[row[running]] = ratio**-learned.elasticity
    until[row[running]] = until_ms[running]
    return boost, until


def _shelf_lives(now: Known) -> Ints:
    """In days; 0 for what keeps, and for shelves not watched for as long as that."""
    items = now.evidence.items
    life = ints(items["shelf_life_days"].fill_null(0))
    watched = (now.evidence.as_of_ms - ints(items["first_seen_ms"])) // DAY_MS
    return np.where(watched > life, life, 0)


def _goods(now: Known, table: pa.Table, at: str) -> Goods:
    row = rows_of(now.evidence.items, table)
    known_item = row >= 0
    row, at_ms = row[known_item], ints(table[at])[known_item]
    units = ints(table["units"])[known_item].astype(np.float64)
    order = np.argsort(row, kind="stable")
    return Goods(row[order], at_ms[order], units[order])
