"""What a chain's systems know at a moment: recorded stock, what is on its way, and what was sold.

Nothing from after the moment is in a snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from clickhouse.client import Client
from clickhouse.queries import select
from simulators.world.columns import SlotEvents
from simulators.world.seasons import DAY_MS
from tillstream.evaluation.items import Items, product_ids, store_ids

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SALES_DAYS: Final = 30
# Of an item that no system has heard of.
_UNKNOWN: Final = np.iinfo(np.int32).min

# Nothing that expires keeps for longer.
_RECENT_MS = 30 * DAY_MS


@dataclass(frozen=True, slots=True)
class OnTheWay:
    """Goods on their way, by item, then time: `item` (m,) is a row of the snapshot, `expected_ms`
    when they were promised for (overdue when that has passed), and `units` ordered."""

    item: Ints
    expected_ms: Ints
    units: Ints
    is_transfer: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Received:
    """Goods that came in the last weeks: `item` (m,) is a row of the snapshot."""

    item: Ints
    at_ms: Ints
    units: Ints


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The reported items (n,) of a moment: `row` of the case's items, numbers of store and product,
    `recorded` units, when an order placed now is promised for, the units `sold` (n, 30) on each UTC
    day before (the newest last; days before the run are left as 0), how many of those days the run
    has had, goods on their way, and goods received."""

    as_of_ms: int
    row: Ints
    store: Ints
    product: Ints
    recorded: Ints
    promised_ms: Ints
    sold: Floats
    days_known: int
    on_the_way: OnTheWay
    received: Received

    def __len__(self) -> int:
        return len(self.row)

    def ids(self) -> pa.Table:
        """`store_id` and `product_id` of each item."""
        return pa.table(
            {"store_id": store_ids(self.store), "product_id": product_ids(self.product)}
        )


@dataclass(frozen=True, slots=True)
class Books:
    """`recorded` (moments, items) as reported before each moment; `sold` (days, items) units by UTC
    day from `start_ms` on."""

    moments: Ints
    start_ms: int
    recorded: npt.NDArray[np.int32]
    sold: npt.NDArray[np.float32]

    def at(self, as_of_ms: int) -> tuple[Ints, Ints]:
        """(rows, recorded units) of the items reported before a moment."""
        recorded = self.recorded[int(np.searchsorted(self.moments, as_of_ms))]
        rows = np.flatnonzero(recorded != _UNKNOWN)
        return rows, recorded[rows].astype(np.int64)

    def sold_before(self, as_of_ms: int, rows: Ints) -> Floats:
        """(rows, SALES_DAYS) units by day."""
        day = (as_of_ms - self.start_ms) // DAY_MS
        known = self.sold[max(0, day - SALES_DAYS) : day, rows].T
        found = np.zeros((len(rows), SALES_DAYS))
        found[:, SALES_DAYS - known.shape[1] :] = known
        return found


class BooksKeeper:
    """Books from a simulation's events, slot by slot; no two moments may fall into one slot."""

    def __init__(self, items: Items, moments: Ints, start_ms: int) -> None:
        self._items = items
        self._moments = moments
        self._start_ms = start_ms
        self._current = np.full(len(items), _UNKNOWN, dtype=np.int32)
        self._recorded = np.full((len(moments), len(items)), _UNKNOWN, dtype=np.int32)
        days = int((moments[-1] - start_ms) // DAY_MS)
        self._sold = np.zeros((days, len(items)), dtype=np.float32)

    def add(self, events: SlotEvents) -> None:
        moves, sales = events.moves, events.sales
        if len(moves):
            row = self._items.rows(moves.store, moves.product)
            for number in np.flatnonzero(
                (self._moments >= moves.at_ms.min()) & (self._moments <= moves.at_ms.max())
            ):
                before = moves.at_ms < self._moments[number]
                at_moment = self._current.copy()
                _keep_last(at_moment, row[before], moves.sequence[before], moves.recorded[before])
                self._recorded[number] = at_moment
            _keep_last(self._current, row, moves.sequence, moves.recorded)
        day = (sales.at_ms - self._start_ms) // DAY_MS
        counts = (sales.units > 0) & (day < len(self._sold))
        row = self._items.rows(sales.store[counts], sales.product[counts])
        np.add.at(self._sold, (day[counts], row), sales.units[counts].astype(np.float32))

    def books(self) -> Books:
        return Books(self._moments, self._start_ms, self._recorded, self._sold)


def _keep_last(into: npt.NDArray[np.int32], row: Ints, sequence: Ints, recorded: Ints) -> None:
    order = np.lexsort((sequence, row))
    last = np.append(row[order][1:] != row[order][:-1], True) if len(row) else order.astype(bool)
    into[row[order][last]] = recorded[order][last]


def read_books(client: Client, items: Items, moments: Sequence[int] | Ints, start_ms: int) -> Books:
    """Books from the warehouse, by arrival. Raises ServiceError."""
    recorded = np.full((len(moments), len(items)), _UNKNOWN, dtype=np.int32)
    for number, as_of_ms in enumerate(moments):
        found = select(
            client,
            "SELECT toString(store_id) AS store_id, product_id,"
            " argMax(quantity_on_hand, sequence) AS recorded FROM fact_inventory"
            " WHERE arrival < fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"
            " GROUP BY store_id, product_id",
            parameters={"as_of": int(as_of_ms)},
        )
        recorded[number, items.rows_of(found)] = found["recorded"].to_numpy()
    last_ms = int(moments[-1])
    sold = np.zeros(((last_ms - start_ms) // DAY_MS, len(items)), dtype=np.float32)
    found = select(
        client,
        "SELECT toString(store_id) AS store_id, product_id,"
        " intDiv(toUnixTimestamp64Milli(event_time) - {start:Int64}, 86400000) AS day,"
        " sum(quantity) AS units FROM fact_sales"
        " WHERE quantity > 0 AND arrival < fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"
        " GROUP BY store_id, product_id, day",
        parameters={"as_of": last_ms, "start": start_ms},
    )
    sold[found["day"].to_numpy(), items.rows_of(found)] = found["units"].to_numpy()
    return Books(np.asarray(moments), start_ms, recorded, sold)


@dataclass(frozen=True, slots=True)
class OrderBook:
    """A run's orders (rows of the case's items); times in ms."""

    row: Ints
    ordered_ms: Ints
    expected_ms: Ints
    received_ms: Ints
    units: Ints
    is_transfer: npt.NDArray[np.bool_]

    @classmethod
    def read(cls, folder: Path, items: Items) -> "OrderBook":
        table = pq.read_table(folder / "orders.parquet")
        row = items.rows_of(table)
        times = [
            table[name].cast(pa.int64()).to_numpy()
            for name in ("ordered_at", "expected_at", "received_at")
        ]
        order = np.lexsort((times[1], row))
        transfer = table["is_transfer"].to_numpy(zero_copy_only=False)
        columns = (row, *times, table["units"].to_numpy().astype(np.int64), transfer)
        return cls(*(column[order] for column in columns))

    def open_at(self, as_of_ms: int, rows: Ints) -> OnTheWay:
        """What had been ordered and not yet received, for items of `rows` (ascending)."""
        is_open = (self.ordered_ms < as_of_ms) & (self.received_ms >= as_of_ms)
        at = np.minimum(np.searchsorted(rows, self.row), len(rows) - 1)
        chosen = np.flatnonzero(is_open & (rows[at] == self.row))
        return OnTheWay(
            at[chosen], self.expected_ms[chosen], self.units[chosen], self.is_transfer[chosen]
        )

    def received_at(self, as_of_ms: int, rows: Ints) -> Received:
        """What was received in the weeks before, of what was ordered."""
        recent = (self.received_ms < as_of_ms) & (self.received_ms >= as_of_ms - _RECENT_MS)
        at = np.minimum(np.searchsorted(rows, self.row), len(rows) - 1)
        chosen = np.flatnonzero(recent & (rows[at] == self.row))
        return Received(at[chosen], self.received_ms[chosen], self.units[chosen])
