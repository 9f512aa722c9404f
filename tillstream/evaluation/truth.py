"""What became of each decision: which shelves ran empty before an order placed then arrived."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from simulators.world.chain import first_midnight_ms
from simulators.world.seasons import DAY_MS, HOUR_MS
from simulators.world.world import World
from tillstream.evaluation.arrivals import arrivals
from tillstream.evaluation.items import Items

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_FAR = 1 << 42
# Names the judge's own chance, which the simulator never draws from.
_JUDGE = 0x6A756467


@dataclass(frozen=True, slots=True)
class Outcome:
    """The items (n,) judged at a moment: reported, and truly not empty then. `row` is ascending.

    `ran_out` says whether the shelf became empty by `arrival_ms`, when an order placed then came;
    `empty_ms` is when it next became empty, whenever that was. `lost_units` could not be had from
    then until the order came (demand is known by a store's day, so to a day at its end), in slots
    `first_slot` to `last_slot`; both are 0 where it did not run out.
    """

    as_of_ms: int
    row: Ints
    ran_out: Bools
    arrival_ms: Ints
    empty_ms: Ints
    first_slot: Ints
    last_slot: Ints
    lost_units: Floats


class Truth:
    """A finished run's truth, from its folder."""

    def __init__(self, world: World, items: Items, folder: Path) -> None:
        self._world = world
        self._items = items
        gaps = pq.read_table(folder / "stockouts.parquet")
        row, start_ms = items.rows_of(gaps), _ms(gaps, "empty_from")
        order = np.lexsort((start_ms, row))
        self._gap_row, self._gap_start = row[order], start_ms[order]
        self._gap_until = _ms(gaps, "empty_until")[order]
        demand = pq.read_table(folder / "demand.parquet")
        self._demand_row = items.rows_of(demand)
        self._first_slot_ms = _first_slots(world)[items.store]
        self._slots = (world.end_ms - world.start_ms) // DAY_MS
        self._demand_slot = (
            _ms(demand, "slot_start") - self._first_slot_ms[self._demand_row]
        ) // DAY_MS
        self._demand = demand
        self.unmet = self._by_slot("unmet")
        errors = pq.read_table(folder / "errors.parquet")
        row, at_ms = items.rows_of(errors), _ms(errors, "at")
        # Rows of one moment stand in the order in which they happened.
        order = np.lexsort((np.arange(len(row)), at_ms, row))
        self._error_key = row[order] * _FAR + at_ms[order]
        self._error = errors["error"].to_numpy()[order].astype(np.int64)

    def wanted(self) -> Floats:
        """Units wanted at first choice, (items, slots)."""
        return self._by_slot("wanted")

    def _by_slot(self, name: str) -> Floats:
        into = np.zeros((len(self._items), self._slots))
        np.add.at(into, (self._demand_row, self._demand_slot), self._demand[name].to_numpy())
        return into

    def is_empty(self, rows: Ints, at_ms: int) -> Bools:
        key = self._gap_row * _FAR + self._gap_start
        at = np.searchsorted(key, rows * _FAR + at_ms, side="right") - 1
        known = (at >= 0) & (self._gap_row[at] == rows)
        return np.asarray(known & (self._gap_until[at] > at_ms))

    def next_empty_ms(self, rows: Ints, after_ms: int) -> Ints:
        """When each next becomes empty, far in the future for never."""
        key = self._gap_row * _FAR + self._gap_start
        at = np.searchsorted(key, rows * _FAR + after_ms, side="right")
        at = np.minimum(at, len(key) - 1)
        known = (self._gap_row[at] == rows) & (self._gap_start[at] > after_ms)
        return np.where(known, self._gap_start[at], _FAR)

    def error(self, rows: Ints, as_of_ms: int) -> Ints:
        """Physical less recorded units of reported items, before a moment."""
        at = np.searchsorted(self._error_key, rows * _FAR + as_of_ms) - 1
        return np.where(self._error_key[at] // _FAR == rows, self._error[at], 0)

    def outcome(self, as_of_ms: int, reported: Ints) -> Outcome:
        """Of the items reported by then (rows, ascending)."""
        draw = np.random.default_rng([_JUDGE, self._world.seed, as_of_ms // DAY_MS])
        arrival = arrivals(self._world, self._items, as_of_ms).drawn(draw)
        rows = reported[~self.is_empty(reported, as_of_ms)]
        empty = self.next_empty_ms(rows, as_of_ms)
        ran_out = empty <= arrival[rows]
        start = self._first_slot_ms[rows]
        first = np.where(ran_out, (np.where(ran_out, empty, start) - start) // DAY_MS, 0)
        last = np.where(ran_out, (arrival[rows] - 1 - start) // DAY_MS, 0)
        # The truck comes before most customers of its day, whose unmet demand is no longer its.
        last = np.clip(np.maximum(last - 1, first), 0, self._slots - 1)
        total = np.cumsum(self.unmet, axis=1)
        lost = total[rows, last] - np.where(first > 0, total[rows, first - 1], 0)
        return Outcome(
            as_of_ms=as_of_ms,
            row=rows,
            ran_out=ran_out,
            arrival_ms=arrival[rows],
            empty_ms=empty,
            first_slot=first,
            last_slot=last,
            lost_units=np.where(ran_out, lost, 0.0),
        )

    def hours_until_empty(self, outcome: Outcome) -> Floats:
        """Infinite for those that did not run out."""
        hours = (outcome.empty_ms - outcome.as_of_ms) / HOUR_MS
        return np.where(outcome.ran_out, hours, np.inf)


def _first_slots(world: World) -> Ints:
    """When each store's first day began, UTC."""
    return np.array([first_midnight_ms(world, store) for store in world.stores])


def _ms(table: pa.Table, name: str) -> Ints:
    return np.asarray(table[name].cast(pa.int64()).to_numpy())
