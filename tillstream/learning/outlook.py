"""The risk of every item at a moment, from what was learned and what was known by then."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clickhouse.client import Client
from tillstream.demand.expiry import Goods, spoilt_risk
from tillstream.demand.receipts import Receipts
from tillstream.demand.risk import stockout_risk
from tillstream.learning.evidence import Evidence, Names, ints, read, rows_of
from tillstream.learning.exposure import DAY_MS, utc_offset_ms
from tillstream.learning.learn import Learned, learn
from tillstream.learning.supply import (
    DEFAULT_TRUCK_MS,
    arrival_ms,
    fresh_goods,
    held_up,
    open_orders,
    truck_ms_of_day,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N = TypeVar("N", int, float)

DEFAULT_LEAD_DAYS = 2.0
# How much longer a supplier delivers nothing, in times of how long he has not: the middles of three
# equally likely parts. Where nothing else is known, it goes on for longer than r with a chance of
# t / (t + r) after t (Gott, Nature 363, 1993).
_HELD_UP_LONGER = (0.2, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Known:
    """What a score needs beside what was learned, all known at the evidence's moment."""

    evidence: Evidence
    orders: pa.Table
    fresh: pa.Table
    trucks: dict[str, int]
    held_up: dict[str, int]


def known(client: Client, *, as_of_ms: int, days: int, half_life_days: float) -> Known:
    """Raises ServiceError."""
    return Known(
        read(client, as_of_ms=as_of_ms, days=days, half_life_days=half_life_days),
        open_orders(client, as_of_ms=as_of_ms),
        fresh_goods(client, as_of_ms=as_of_ms),
        truck_ms_of_day(client, as_of_ms=as_of_ms),
        held_up(client, as_of_ms=as_of_ms),
    )


def outlook(
    client: Client, *, as_of_ms: int, days: int = 56, half_life_days: float = 28.0
) -> pa.Table:
    """(store_id, product_id, risk) of every item reported before `as_of_ms`, a UTC midnight."""
    now = known(client, as_of_ms=as_of_ms, days=days, half_life_days=half_life_days)
    return risks(now, learn(now.evidence, half_life_days=half_life_days))


def risks(now: Known, learned: Learned) -> pa.Table:
    """The same, of what is known already."""
    items = now.evidence.items
    held_ms = _by_supplier(items, now.held_up, 0)
    longer = _HELD_UP_LONGER if now.held_up else (0.0,)
    parts = [_risk(now, learned, (held_ms * times).astype(np.int64)) for times in longer]
    risk = pa.array(np.mean(parts, axis=0))
    return items.select(["store_id", "product_id"]).append_column("risk", risk)


def _risk(now: Known, learned: Learned, held: Ints) -> Floats:
    """(n,), if suppliers deliver nothing for `held` milliseconds (n,) more."""
    items, as_of_ms = now.evidence.items, now.evidence.as_of_ms
    offset_ms = _offsets(items, as_of_ms)
    trucks = np.array([now.trucks.get(s, DEFAULT_TRUCK_MS) for s in items["store_id"].to_pylist()])
    lead = np.asarray(items["lead_time_days"].fill_null(0).to_numpy(), dtype=np.float64)
    lead = np.where(lead > 0, lead, DEFAULT_LEAD_DAYS)
    arrives = arrival_ms(as_of_ms, lead, offset_ms=offset_ms, truck_ms=trucks)
    arrives = np.where(held > 0, np.maximum(arrives, as_of_ms + held), arrives)
    boost, boost_until = _boost(now, learned)

    def demand_days(rows: Ints, from_ms: Ints, until_ms: Ints) -> Floats:
        """More of them while a promotion lasts."""
        plain = learned.rhythm.days_between(from_ms, until_ms, offset_ms[rows])
        end = np.clip(boost_until[rows], from_ms, until_ms)
        cheap = learned.rhythm.days_between(from_ms, end, offset_ms[rows])
        return np.asarray(plain + (boost[rows] - 1) * cheap)

    every = np.arange(items.num_rows)
    start = np.full(items.num_rows, as_of_ms)
    late_ms = round(learned.lateness.mean_days) * DAY_MS
    late_share = _by_supplier(items, learned.lateness.by_supplier, learned.lateness.share)
    coming = _coming(now, trucks, held)
    recorded = ints(items["on_hand"])
    error_units, error_weight = learned.stock_error.of(recorded)
    risk = stockout_risk(
        learned.belief,
        stock=recorded.astype(np.float64),
        lead_days=np.stack(
            [demand_days(every, start, arrives + late) for late in (0, late_ms)], axis=1
        ),
        lead_weight=np.stack([1 - late_share, late_share], axis=1),
        receipts=Receipts(
            item=coming.row,
            at_days=demand_days(coming.row, start[coming.row], coming.at_ms),
            units=coming.units,
        ),
        error_units=error_units,
        error_weight=error_weight,
    )
    spoilt = spoilt_risk(
        learned.belief,
        as_of_ms=as_of_ms,
        life_days=_shelf_lives(now),
        offset_ms=offset_ms,
        arrives_ms=arrives,
        came=_goods(now, now.fresh, "came_ms"),
        coming=coming,
        demand_days=demand_days,
    )
    return np.asarray(np.maximum(risk, spoilt))


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


def _by_supplier(items: pa.Table, known: Mapping[str, N], default: N) -> NDArray[Any]:
    suppliers = Names.of(items["supplier_id"])
    return np.array([known.get(name, default) for name in suppliers.values])[suppliers.number]


def _shelf_lives(now: Known) -> Ints:
    """In days; 0 for what keeps, and for shelves not watched for as long as that."""
    items = now.evidence.items
    life = ints(items["shelf_life_days"].fill_null(0))
    watched = (now.evidence.as_of_ms - ints(items["first_seen_ms"])) // DAY_MS
    return np.where(watched > life, life, 0)


def _coming(now: Known, trucks: Ints, held_ms: Ints) -> Goods:
    """Orders on their way, by row and time. What is overdue is expected with the next truck, and
    what a supplier holds up once that may be over."""
    as_of_ms = now.evidence.as_of_ms
    due = _goods(now, now.orders, "expected_ms")
    next_truck = as_of_ms // DAY_MS * DAY_MS + trucks[due.row]
    next_truck = np.where(next_truck <= as_of_ms, next_truck + DAY_MS, next_truck)
    at_ms = np.where(due.at_ms <= as_of_ms, next_truck, due.at_ms)
    held = held_ms[due.row]
    at_ms = np.where(held > 0, np.maximum(at_ms, as_of_ms + held), at_ms)
    order = np.lexsort((at_ms, due.row))
    return Goods(due.row[order], at_ms[order], due.units[order])


def _goods(now: Known, table: pa.Table, at: str) -> Goods:
    row = rows_of(now.evidence.items, table)
    known_item = row >= 0
    units = ints(table["units"])[known_item].astype(np.float64)
    return Goods(row[known_item], ints(table[at])[known_item], units)
