"""The risk of shelves from everything that is known of them: one function for the night and the
stream, arrays in and arrays out."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from tillstream.demand.belief import Belief
from tillstream.demand.expiry import Goods, spoilt_risk
from tillstream.demand.receipts import Receipts
from tillstream.demand.rhythm import Rhythm
from tillstream.demand.risk import LateReceipts, expected_shortfall, risk_by_lead
from tillstream.learning.exposure import DAY_MS
from tillstream.learning.learn import Learned
from tillstream.learning.orders import held_up_longer_ms
from tillstream.learning.stockerror import StockError
from tillstream.learning.supply import arrival_ms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DemandDays = Callable[[Ints, Ints, Ints], Floats]

# With each of these chances a supplier that delivers nothing goes on so for longer than some time:
# those are the middles of five equally likely parts.
HELD_UP_CHANCES = (0.9, 0.7, 0.5, 0.3, 0.1)
# That an overdue order does not come with the next truck either.
_OVERDUE_LATE = 0.5
# Shelves taken at a time: bounds the memory, and is what a thread does in one go.
_CHUNK = 65_536
# Stands for "no receipt is due".
NEVER_MS = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Chain:
    """How the chain works, as far as it was learned. Orders that are late are so by `late_ms`."""

    rhythm: Rhythm
    late_ms: int
    stock_error: StockError

    @classmethod
    def of(cls, learned: Learned) -> "Chain":
        late_ms = round(learned.lateness.mean_days) * DAY_MS
        return cls(learned.rhythm, late_ms, learned.stock_error)


@dataclass(frozen=True, slots=True)
class Shelves:
    """What is known of items at `as_of_ms`; arrays (n,), times in UTC milliseconds.

    `recorded` stock is that of the books, `lead_days` the supplier's, `late_share` how often what
    he brings is late, and `held_ms` for how long he has delivered nothing (0: he delivers).
    `offset_ms` is local time less UTC, `truck_ms` the time of the UTC day at which trucks come,
    `life_days` 0 for what keeps. An item sells `boost` times as much until `boost_until_ms`.
    `coming` is what was ordered and has not come, by when it was promised; `came` what came within
    a shelf life; both in order of their row.
    """

    as_of_ms: int
    belief: Belief
    recorded: Ints
    lead_days: Floats
    late_share: Floats
    held_ms: Ints
    offset_ms: Ints
    truck_ms: Ints
    life_days: Ints
    boost: Floats
    boost_until_ms: Ints
    coming: Goods
    came: Goods

    def __len__(self) -> int:
        return len(self.recorded)

    def of_rows(self, rows: Ints) -> "Shelves":
        """Only `rows`, ascending, numbered anew."""
        return replace(
            self,
            belief=self.belief.of_rows(rows),
            recorded=self.recorded[rows],
            lead_days=self.lead_days[rows],
            late_share=self.late_share[rows],
            held_ms=self.held_ms[rows],
            offset_ms=self.offset_ms[rows],
            truck_ms=self.truck_ms[rows],
            life_days=self.life_days[rows],
            boost=self.boost[rows],
            boost_until_ms=self.boost_until_ms[rows],
            coming=_goods_of(self.coming, rows),
            came=_goods_of(self.came, rows),
        )


@dataclass(frozen=True, slots=True)
class Outlook:
    """Arrays (n,). `risk` is P(the shelf is empty before an order placed now arrives), `spoilt`
    the part of it by goods that must be thrown away. That order comes at `arrives_ms`,
    `horizon_days` demand days from now, and `coming_units` before it, the first of them at
    `next_receipt_ms` (NEVER_MS: none), unless they are late. `lost_units` are expected to be asked
    for in vain until then."""

    risk: Floats
    spoilt: Floats
    arrives_ms: Ints
    horizon_days: Floats
    coming_units: Floats
    next_receipt_ms: Ints
    lost_units: Floats


def look_ahead(shelves: Shelves, chain: Chain, *, threads: int = 1) -> Outlook:
    """The outlook of all shelves, which must not be none."""
    starts = range(0, len(shelves), _CHUNK)

    def part(start: int) -> Outlook:
        rows = np.arange(start, min(start + _CHUNK, len(shelves)))
        return _mean_outlook(shelves.of_rows(rows) if len(starts) > 1 else shelves, chain)

    if threads == 1 or len(starts) == 1:
        return _together([part(start) for start in starts])
    with ThreadPoolExecutor(threads) as pool:
        return _together(list(pool.map(part, starts)))


def _mean_outlook(shelves: Shelves, chain: Chain) -> Outlook:
    """Over how long suppliers that deliver nothing may go on like that."""
    is_held = shelves.held_ms > 0
    if not is_held.any():
        return _outlook(shelves, chain, np.zeros(len(shelves), dtype=np.int64))
    held, others = np.flatnonzero(is_held), np.flatnonzero(~is_held)
    those = shelves.of_rows(held)
    longer = held_up_longer_ms(those.held_ms, HELD_UP_CHANCES)
    parts = [_outlook(those, chain, longer_ms) for longer_ms in longer]
    mean = {
        name: np.mean([getattr(part, name) for part in parts], axis=0)
        for name in ("risk", "spoilt", "horizon_days", "lost_units")
    }
    found = replace(parts[len(parts) // 2], **mean)
    if len(others):
        usual = shelves.of_rows(others)
        both = [_outlook(usual, chain, np.zeros(len(others), dtype=np.int64)), found]
        found = _ordered(_together(both), np.argsort(np.concatenate([others, held])))
    return found


def _outlook(shelves: Shelves, chain: Chain, held: Ints) -> Outlook:
    """If suppliers deliver nothing for `held` milliseconds (n,) more."""
    as_of_ms, n = shelves.as_of_ms, len(shelves)
    arrives = arrival_ms(
        as_of_ms, shelves.lead_days, offset_ms=shelves.offset_ms, truck_ms=shelves.truck_ms
    )
    arrives = np.where(held > 0, np.maximum(arrives, as_of_ms + held), arrives)
    demand_days = demand_clock(shelves, chain.rhythm)
    every, start = np.arange(n), np.full(n, as_of_ms)
    # The order is in time, or late.
    arrivals = np.stack([arrives, arrives + chain.late_ms], axis=1)
    weight = np.stack([1 - shelves.late_share, shelves.late_share], axis=1)
    lead_days = np.stack([demand_days(every, start, at_ms) for at_ms in arrivals.T], axis=1)
    coming, delayed = _coming(shelves, held, 0), _coming(shelves, held, chain.late_ms)
    late_chance = _late_chance(shelves)

    def receipts_of(goods: Goods) -> Receipts:
        return Receipts(
            item=goods.row,
            at_days=demand_days(goods.row, start[goods.row], goods.at_ms),
            units=goods.units,
        )

    receipts = receipts_of(coming)
    stock = shelves.recorded.astype(np.float64)
    error_units, error_weight = chain.stock_error.of(shelves.recorded)
    risk = risk_by_lead(
        shelves.belief,
        stock=stock,
        lead_days=lead_days,
        lead_weight=weight,
        receipts=receipts,
        late=LateReceipts(receipts_of(delayed), late_chance),
        error_units=error_units,
        error_weight=error_weight,
    )
    spoilt = _spoilt(shelves, chain.rhythm, arrivals, coming)
    # Only where something comes does it matter whether it is late.
    some = np.unique(coming.row[shelves.life_days[coming.row] > 0])
    worse = _spoilt(shelves.of_rows(some), chain.rhythm, arrivals[some], _goods_of(delayed, some))
    spoilt[some] += late_chance[some, None] * (worse - spoilt[some])
    before = coming.at_ms < arrives[coming.row]
    next_ms = np.full(n, NEVER_MS)
    np.minimum.at(next_ms, coming.row[before], coming.at_ms[before])
    return Outlook(
        risk=np.minimum((weight * np.maximum(risk, spoilt)).sum(1), 1.0),
        spoilt=np.minimum((weight * spoilt).sum(1), 1.0),
        arrives_ms=arrives,
        horizon_days=lead_days[:, 0],
        coming_units=_sums(coming.row[before], coming.units[before], n),
        next_receipt_ms=next_ms,
        lost_units=_lost(shelves.belief, receipts, stock, lead_days, weight),
    )


def demand_clock(shelves: Shelves, rhythm: Rhythm) -> DemandDays:
    """(rows, from_ms, until_ms) -> demand days of items; more of them while a promotion lasts."""

    def demand_days(rows: Ints, from_ms: Ints, until_ms: Ints) -> Floats:
        offset = shelves.offset_ms[rows]
        plain = rhythm.days_between(from_ms, until_ms, offset)
        dear = np.flatnonzero(shelves.boost[rows] != 1.0)
        if len(dear):
            end = np.clip(shelves.boost_until_ms[rows[dear]], from_ms[dear], until_ms[dear])
            cheap = rhythm.days_between(from_ms[dear], end, offset[dear])
            plain[dear] += (shelves.boost[rows[dear]] - 1) * cheap
        return plain

    return demand_days


def _coming(shelves: Shelves, held: Ints, late_ms: int) -> Goods:
    """Orders on their way, by row and time, if they come `late_ms` after they were promised. What
    is overdue comes with the next truck at the soonest, and what a supplier holds up once that may
    be over."""
    due, as_of_ms = shelves.coming, shelves.as_of_ms
    next_truck = as_of_ms // DAY_MS * DAY_MS + shelves.truck_ms[due.row]
    next_truck = np.where(next_truck <= as_of_ms, next_truck + DAY_MS, next_truck)
    at_ms = due.at_ms + late_ms
    at_ms = np.where(due.at_ms <= as_of_ms, np.maximum(at_ms, next_truck), at_ms)
    until = held[due.row]
    at_ms = np.where(until > 0, np.maximum(at_ms, as_of_ms + until), at_ms)
    order = np.lexsort((at_ms, due.row))
    return Goods(due.row[order], at_ms[order], due.units[order])


def _late_chance(shelves: Shelves) -> Floats:
    """That what is on its way comes late (n,): what is overdue may come today or not."""
    chance = shelves.late_share.copy()
    chance[shelves.coming.row[shelves.coming.at_ms <= shelves.as_of_ms]] = _OVERDUE_LATE
    return chance


def _spoilt(shelves: Shelves, rhythm: Rhythm, arrivals: Ints, coming: Goods) -> Floats:
    """The part of the risk by what must be thrown away, by when the order comes (n, K)."""
    spoilt = np.zeros(arrivals.shape)
    rows = np.flatnonzero(shelves.life_days > 0)
    if not len(rows):
        return spoilt
    those = shelves.of_rows(rows)
    goods, demand_days = _goods_of(coming, rows), demand_clock(those, rhythm)
    for k in range(arrivals.shape[1]):
        spoilt[rows, k] = spoilt_risk(
            those.belief,
            as_of_ms=shelves.as_of_ms,
            life_days=those.life_days,
            offset_ms=those.offset_ms,
            arrives_ms=arrivals[rows, k],
            came=those.came,
            coming=goods,
            demand_days=demand_days,
        )
    return spoilt


def _lost(
    belief: Belief, receipts: Receipts, stock: Floats, lead_days: Floats, lead_weight: Floats
) -> Floats:
    """Units asked for in vain before an order placed now arrives, at least: what demand exceeds by
    the first receipt, or by the end with all that comes before it."""
    n = len(stock)
    first = np.full(n, np.inf)
    np.minimum.at(first, receipts.item, receipts.at_days)
    lost = np.zeros(n)
    for k in range(lead_days.shape[1]):
        before = receipts.at_days < lead_days[receipts.item, k]
        item = receipts.item[before]
        due = _sums(item, receipts.units[before], n)
        end = expected_shortfall(belief, lead_days[:, k], np.maximum(stock, 0.0) + due)
        rows = np.unique(item)
        early = expected_shortfall(belief.of_rows(rows), first[rows], stock[rows])
        end[rows] = np.maximum(end[rows], early)
        lost += lead_weight[:, k] * end
    return lost


def _sums(row: Ints, units: Floats, n: int) -> Floats:
    return np.bincount(row, weights=units, minlength=n).astype(np.float64)


def _goods_of(goods: Goods, rows: Ints) -> Goods:
    """Those of `rows` (ascending), numbered anew."""
    if not len(goods.row) or not len(rows):
        return Goods(goods.row[:0], goods.at_ms[:0], goods.units[:0])
    # Rows of a stretch, as chunks are, lie together: nothing else needs to be looked at.
    near = slice(*np.searchsorted(goods.row, [rows[0], rows[-1] + 1]))
    row, at_ms, units = goods.row[near], goods.at_ms[near], goods.units[near]
    place = np.minimum(np.searchsorted(rows, row), len(rows) - 1)
    kept = rows[place] == row
    return Goods(place[kept], at_ms[kept], units[kept])


def _ordered(found: Outlook, rows: Ints) -> Outlook:
    return Outlook(**{field.name: getattr(found, field.name)[rows] for field in fields(Outlook)})


def _together(parts: list[Outlook]) -> Outlook:
    def columns() -> Iterator[tuple[str, NDArray[np.float64]]]:
        for field in fields(Outlook):
            yield field.name, np.concatenate([getattr(part, field.name) for part in parts])

    return Outlook(**dict(columns()))  # type: ignore[arg-type]  # ints stay ints
