"""What every shelf holds and has sold, in memory: thousands a second are scored, and asking the
warehouse for them takes longer with every shelf there is."""

import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from clickhouse import live_inputs
from clickhouse.client import Client
from streaming.keyed import Bools, Ints, Keys
from streaming.money import SCALE, to_units
from streaming.stock import of_shelves
from tillstream.contracts.topics import Topic

# Stored rows of sales and movements, as far as a state depends on them.
_COLUMNS = (
    *("topic", "store_id", "product_id", "window_start", "event_time", "offset"),
    *("quantity", "revenue", "sequence", "quantity_on_hand"),
)
_STATE = np.dtype(
    [
        # The newest report: the till's order, then time, then the place in Kafka.
        ("sequence", np.int64),
        ("at_ms", np.int64),
        ("offset", np.int64),
        ("on_hand", np.int32),
        ("is_reported", np.bool_),
        ("units", np.int64),
        ("revenue", np.int64),  # in units of money, see streaming.money
    ]
)
States = npt.NDArray[np.void]
BYTES_A_SHELF = _STATE.itemsize + np.dtype(np.uint64).itemsize
# Shelves are parted by the first bits of their keys, which are hashes.
_PART_BITS = 4
_PARTS = 1 << _PART_BITS
_FIRST_KEYS = np.arange(_PARTS, dtype=np.uint64) << np.uint64(64 - _PART_BITS)
# Each run of a part is so many times as long as the next one. Each part has a ratio of its own, or
# all of them would merge their longest runs in the same round.
_RATIOS = tuple(8 + number / 2 for number in range(_PARTS))
_DAY_US = 86_400_000_000


Run = tuple[Keys, States]


def _no_runs() -> list[list[Run]]:
    return [[] for _ in range(_PARTS)]


@dataclass(slots=True)
class Shelves:
    """States by item key: in parts, and each part in runs of ascending keys, the longest first. No
    key is in two runs."""

    parts: list[list[Run]] = field(default_factory=_no_runs)

    def __len__(self) -> int:
        return sum(len(keys) for runs in self.parts for keys, _ in runs)

    def of(self, keys: Keys) -> tuple[Bools, States]:
        """(whether it is known, its state) of each key, (n,)."""
        known = np.zeros(len(keys), dtype=np.bool_)
        states = np.zeros(len(keys), dtype=_STATE)
        order = np.argsort(keys)
        ascending = keys[order]
        for runs, here in zip(self.parts, _parted(ascending), strict=True):
            for held, state in runs:
                found, place = _places(held, ascending[here])
                at = order[here][found]
                known[at] = True
                states[at] = state[place]
        return known, states

    def put(self, keys: Keys, states: States) -> None:
        """Set the states of `keys`, which ascend and are distinct."""
        for runs, here, ratio in zip(self.parts, _parted(keys), _RATIOS, strict=True):
            if here.start < here.stop:
                _put(runs, keys[here], states[here], ratio)


class ShelfStates:
    """The shelves of a warehouse, as of the last batch that was stored, with what they sold since a
    UTC day.

    `stored` is called by whoever writes, with everything that is written, and `of` by whoever
    scores, on another thread. `of` gives nothing until `stored` has loaded what it asked for: only
    between two batches is it known which sales the sums in the warehouse hold.
    """

    def __init__(self, client: Client, *, at_most: int) -> None:
        """`at_most`: with more shelves than that, `of` never gives any."""
        self._client = client
        self._at_most = at_most
        self._guard = threading.Lock()
        self._shelves = Shelves()
        self._since_day: int | None = None
        self._wanted_day: int | None = None
        self._pending: list[pa.Table] = []

    def __len__(self) -> int:
        return len(self._shelves)

    def forget(self) -> None:
        """Start over: something else may have been written."""
        with self._guard:
            self._hold(Shelves(), None)
            self._wanted_day = None

    def stored(self, winners: pa.Table) -> None:
        """Take the rows of a batch that is in the warehouse with all that follows from it."""
        with self._guard:
            wanted, since_day = self._wanted_day, self._since_day
            if since_day is not None:
                self._pending.append(of_shelves(winners.select(_COLUMNS)))
        if wanted is None or wanted == since_day:
            return
        shelves = self._load(wanted)
        with self._guard:
            self._hold(shelves or Shelves(), None if shelves is None else wanted)

    def of(self, items: pa.Table, *, since_day: int) -> pa.Table | None:
        """As `live_inputs.stock_and_sales`: (store_id, product_id, item_key, on_hand, units,
        revenue) of those of `items` with known stock; None while that must be asked."""
        with self._guard:
            self._wanted_day = since_day
            if self._since_day != since_day:
                return None
            shelves, pending, self._pending = self._shelves, self._pending, []
        names = ["store_id", "product_id"]
        rows = pa.concat_tables([items.select(names), *(one.select(names) for one in pending)])
        keys = live_inputs.item_keys(self._client, rows)
        wanted = keys[: items.num_rows]
        if pending:
            _take(shelves, keys[items.num_rows :], pa.concat_tables(pending), since_day)
        known, states = shelves.of(wanted)
        if len(shelves) > self._at_most:
            self.forget()
        known &= states["is_reported"]
        states = states[known]
        return (
            items.select(names)
            .filter(pa.array(known))
            .append_column("item_key", pa.array(wanted[known]))
            .append_column("on_hand", pa.array(np.ascontiguousarray(states["on_hand"])))
            .append_column("units", pa.array(np.ascontiguousarray(states["units"])))
            .append_column("revenue", pa.array(states["revenue"] / SCALE))
        )

    def _hold(self, shelves: Shelves, since_day: int | None) -> None:
        self._shelves, self._since_day, self._pending = shelves, since_day, []

    def _load(self, since_day: int) -> Shelves | None:
        if live_inputs.shelf_count(self._client) > self._at_most:
            return None
        reports = live_inputs.newest_reports(self._client)
        sales = live_inputs.sales_since(self._client, since_day=since_day)
        reported, sold = reports["item_key"].to_numpy(), sales["item_key"].to_numpy()
        keys = np.union1d(reported, sold)
        states = np.zeros(len(keys), dtype=_STATE)
        _report(states, np.searchsorted(keys, reported), reports)
        at = np.searchsorted(keys, sold)
        states["units"][at] = sales["units"].to_numpy()
        states["revenue"][at] = to_units(sales["revenue"])
        shelves = Shelves()
        shelves.put(keys, states)
        return shelves


def _take(shelves: Shelves, keys: Keys, rows: pa.Table, since_day: int) -> None:
    """Let the states of `keys` (n,) follow the stored `rows` (n,)."""
    items, item = np.unique(keys, return_inverse=True)
    _, states = shelves.of(items)

    def of(name: str, chosen: Ints) -> Ints:
        return np.asarray(rows[name].cast(pa.int64()).fill_null(0).to_numpy()[chosen])

    is_sale = pc.equal(rows["topic"], Topic.SALES.value).to_numpy()
    day = rows["window_start"].cast(pa.int64()).fill_null(0).to_numpy() // _DAY_US
    sold = np.flatnonzero(is_sale & (day >= since_day))
    np.add.at(states["units"], item[sold], of("quantity", sold))
    np.add.at(states["revenue"], item[sold], to_units(rows["revenue"].take(pa.array(sold))))

    moved = np.flatnonzero(pc.equal(rows["topic"], Topic.INVENTORY.value).to_numpy())
    news = np.zeros(len(moved), dtype=_STATE)
    news["sequence"], news["offset"] = of("sequence", moved), of("offset", moved)
    news["at_ms"] = of("event_time", moved) // 1000
    news["on_hand"] = of("quantity_on_hand", moved)
    order = np.lexsort((*_order(news), item[moved]))
    # The last one of each item is its newest.
    last = order[np.flatnonzero(np.diff(item[moved][order], append=-1))]
    at, news = item[moved][last], news[last]
    newer = ~states["is_reported"][at] | _is_newer(news, states[at])
    _report(states, at[newer], news[newer])
    shelves.put(items, states)


def _report(states: States, at: Ints, reports: States | pa.Table) -> None:
    """Make `reports` (n,) the newest ones of the states `at` (n,)."""
    for name in ("sequence", "at_ms", "offset", "on_hand"):
        states[name][at] = reports[name]
    states["is_reported"][at] = True


def _order(states: States) -> list[npt.NDArray[Any]]:
    """What makes a report newer, the least important first; as in `current_stock_feed`."""
    on_hand = np.ascontiguousarray(states["on_hand"]).view(np.uint32)
    return [on_hand, states["offset"], states["at_ms"], states["sequence"]]


def _is_newer(new: States, old: States) -> Bools:
    newer = np.zeros(len(new), dtype=np.bool_)
    for one, other in zip(_order(new), _order(old), strict=True):
        newer = (one > other) | ((one == other) & newer)
    return newer


def _places(held: Keys, keys: Keys) -> tuple[Bools, Ints]:
    """(which of `keys` are in `held`, where those are)."""
    place = np.searchsorted(held, keys)
    place[place == len(held)] = 0
    found = held[place] == keys
    return found, place[found]


def _parted(ascending: Keys) -> list[slice]:
    """Where each part is in the keys."""
    edges = [*np.searchsorted(ascending, _FIRST_KEYS).tolist(), len(ascending)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _put(runs: list[Run], keys: Keys, states: States, ratio: float) -> None:
    new = np.ones(len(keys), dtype=np.bool_)
    for held, state in runs:
        found, place = _places(held, keys)
        state[place] = states[found]
        new &= ~found
    if not new.any():
        return
    runs.append((keys[new], states[new]))
    while len(runs) > 1 and len(runs[-2][0]) < ratio * len(runs[-1][0]):
        runs[-2:] = [_merged(runs[-2], runs[-1])]


def _merged(long: Run, short: Run) -> Run:
    """Both in one. Not by sorting, which takes ten times as long."""
    is_short = np.zeros(len(long[0]) + len(short[0]), dtype=np.bool_)
    is_short[np.searchsorted(long[0], short[0]) + np.arange(len(short[0]))] = True
    keys, states = np.empty(len(is_short), np.uint64), np.empty(len(is_short), _STATE)
    for column, one, other in ((keys, long[0], short[0]), (states, long[1], short[1])):
        column[~is_short] = one
        column[is_short] = other
    return keys, states
