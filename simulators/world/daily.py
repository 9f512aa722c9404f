"""What a store does once a day: order, write off what has expired, count, swap with its neighbour.

Staff act on the books; only what has expired is judged by what truly lies there.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.world.chance import Purpose, stream
from simulators.world.columns import PRICE_REASONS, PriceChanges
from simulators.world.fitted import fitted
from simulators.world.market import week_of, week_start
from simulators.world.scenario import ColdChainFailure, SupplierStrike
from simulators.world.seasons import DAY_MS, HOUR_MS
from simulators.world.shelf import Flow
from simulators.world.state import StoreState, flows_of, levels
from simulators.world.world import World

Ints = npt.NDArray[np.int64]

_TRUCK_HOUR = 4
_CLOSING_HOUR = 22
_MOST_TRANSFERS = 20
# Departments whose goods must stay cold.
_CHILLED = (3, 4, 5, 7)


@dataclass(frozen=True, slots=True)
class Day:
    """One local day of a store. `midnight_ms` is UTC; nothing is planned before `from_ms`."""

    number: int
    midnight_ms: int
    from_ms: int

    def moments(self, draw: np.random.Generator, count: int) -> Ints:
        """Times of the day's trading that are still to come."""
        start = max(self.from_ms, self.midnight_ms + 7 * HOUR_MS)
        end = max(start + 1, self.midnight_ms + _CLOSING_HOUR * HOUR_MS)
        return draw.integers(start, end, count)


def begin_day(world: World, state: StoreState, day: Day) -> PriceChanges:
    """Plan a day, and make the price changes that it begins with."""
    draw = stream(world.seed, Purpose.DAY, subject=state.store.number, at=day.number)
    first = state.day is None
    touched = np.unique(np.concatenate(state.touched)) if state.touched else np.empty(0, np.int64)
    state.touched.clear()
    _bring_opening_orders(world, state, day)
    if not first:
        _order(world, state, day, touched, draw)
        _expire(state, day)
    _lose(world, state, day, draw)
    _count(world, state, day, touched, draw)
    if not state.scheduled_shocks:
        state.scheduled_shocks = True
        _spoil(world, state)
    changes = PriceChanges.empty() if first else _reprice(world, state, day)
    state.day = day.number
    return changes


def _order(
    world: World, state: StoreState, day: Day, touched: Ints, draw: np.random.Generator
) -> None:
    """The fewest whole packs that reach the reorder point, of what moved since yesterday; a truck
    brings them at the supplier's lead time, late or short at times, and at times nobody notices
    what is missing."""
    catalogue, scenario = world.catalogue, world.scenario
    product = state.planogram.products[touched]
    pack = catalogue.pack_units[product]
    short_of = levels(world, state, touched) - state.recorded[touched] - state.on_order[touched]
    units = -(-np.maximum(short_of, 0) // pack) * pack
    wanted = units > 0
    position, units, product = touched[wanted], units[wanted], product[wanted]
    n = len(position)
    supplier = catalogue.supplier[product]
    late = draw.random(n) < catalogue.suppliers.delay[supplier]
    days = catalogue.suppliers.lead_days[supplier] + late * draw.integers(1, 4, n)
    days = _after_strikes(world, day, supplier, days)
    is_short = draw.random(n) < catalogue.suppliers.short[supplier]
    sent = np.where(is_short, (units * draw.uniform(0.3, 0.95, n)).astype(np.int64), units)
    unnoticed = draw.random(n) < scenario.records.unnoticed_short
    state.on_order[position] += units.astype(np.int32)
    at = _truck_ms(state, day) + days * DAY_MS
    rows = flows_of(at, position, sent, booked=np.where(unnoticed, units, sent), kind=Flow.DELIVERY)
    rows[:, 5] = units  # what leaves the order book, whatever came
    state.plan(world, rows)


def _truck_ms(state: StoreState, day: Day) -> int:
    return day.midnight_ms + _TRUCK_HOUR * HOUR_MS + state.store.truck_minute * 60_000


def _bring_opening_orders(world: World, state: StoreState, day: Day) -> None:
    """What was on its way as the run began comes over the days of each lead time."""
    if state.opening_orders is None:
        return
    since = day.number - (world.start_ms // DAY_MS - 1)
    coming = np.flatnonzero(state.opening_orders)
    supplier = world.catalogue.supplier[state.planogram.products[coming]]
    lead = world.catalogue.suppliers.lead_days[supplier]
    truck = _truck_ms(state, day)
    if truck >= day.from_ms:
        due = coming[(coming + state.store.number) % lead < since]
        units = state.opening_orders[due].astype(np.int64)
        rows = flows_of(np.full(len(due), truck), due, units, booked=units, kind=Flow.DELIVERY)
        rows[:, 5] = units
        state.plan(world, rows)
        state.opening_orders[due] = 0
    if since > lead.max(initial=0):
        state.opening_orders = None


def _after_strikes(world: World, day: Day, supplier: Ints, days: Ints) -> Ints:
    first = world.start_ms // DAY_MS
    for number, shock in enumerate(world.scenario.shocks):
        if not isinstance(shock, SupplierStrike):
            continue
        draw = stream(world.seed, Purpose.SHOCK, subject=number)
        struck = draw.random(len(world.catalogue.suppliers)) < shock.suppliers
        start = first + shock.from_day
        arrives = day.number + days
        held = struck[supplier] & (arrives >= start) & (arrives < start + shock.days)
        days = np.where(held, start + shock.days - day.number, days)
    return days


def _expire(state: StoreState, day: Day) -> None:
    """Write off what is left of deliveries whose shelf life is over. The oldest sell first, so of
    the first n units ever received, n less all that left are still there."""
    due = state.expiries.pop(day.number, [])
    if not due:
        return
    position = np.concatenate([part[0] for part in due])
    until = np.concatenate([part[1] for part in due])
    most = np.zeros(int(position.max()) + 1, dtype=np.int64)
    np.maximum.at(most, position, until)
    position = np.unique(position)
    physical = state.physical[position].astype(np.int64)
    gone = state.received[state.planogram.perishable[position]] - physical
    left = np.clip(most[position] - gone, 0, physical)
    some = left > 0
    at = np.full(int(some.sum()), day.from_ms)
    state.agenda[-1].append(flows_of(at, position[some], -left[some], kind=Flow.DAMAGE))


def _lose(world: World, state: StoreState, day: Day, draw: np.random.Generator) -> None:
    """Thefts, which no book knows of, and breakages, which it does."""
    records = world.scenario.records
    units = state.store.baskets_per_day * fitted().lines_per_basket * fitted().units_per_line
    ends = day.midnight_ms + DAY_MS
    rest = max(0.0, (ends - day.from_ms) / DAY_MS)
    cdf = world.market.shelf(state.store.planogram, state.store.region, day.number).cdf
    for share, kind in ((records.theft, Flow.THEFT), (records.damage, Flow.DAMAGE)):
        n = int(draw.poisson(units * share * rest))
        position = np.searchsorted(cdf, draw.random(n) * cdf[-1], side="right")
        position = np.minimum(position, len(cdf) - 1)
        state.plan(world, flows_of(day.moments(draw, n), position, -1, kind=kind))


def _count(
    world: World, state: StoreState, day: Day, touched: Ints, draw: np.random.Generator
) -> None:
    """A few of the shelves that moved are counted, and of the empty ones that the books call full;
    now and then wrongly."""
    records = world.scenario.records
    chosen = touched[draw.random(len(touched)) < records.counted_daily]
    empty = np.flatnonzero((state.physical == 0) & (state.recorded != 0))
    noticed = empty[draw.random(len(empty)) < records.gaps_noticed]
    chosen = np.union1d(chosen, noticed)
    n = len(chosen)
    wrong = draw.random(n) < records.miscounted
    error = np.where(wrong, draw.choice([-2, -1, 1, 2], n), 0)
    state.plan(world, flows_of(day.moments(draw, n), chosen, 0, booked=error, kind=Flow.COUNT))


def _spoil(world: World, state: StoreState) -> None:
    for number, shock in enumerate(world.scenario.shocks):
        if not isinstance(shock, ColdChainFailure):
            continue
        draw = stream(world.seed, Purpose.SHOCK, subject=number)
        if draw.random(len(world.stores))[state.store.number] >= shock.stores:
            continue
        product = state.planogram.products
        chilled = np.flatnonzero(np.isin(world.catalogue.department[product], _CHILLED))
        at = world.start_ms + int(shock.after_minutes * 60_000)
        noticed = at + int(shock.noticed_after_minutes * 60_000)
        all_of_it = -(1 << 24)
        state.plan(world, flows_of(np.full(len(chilled), at), chilled, all_of_it, kind=Flow.THEFT))
        state.plan(world, flows_of(np.full(len(chilled), noticed), chilled, 0, kind=Flow.WRITE_OFF))


def _reprice(world: World, state: StoreState, day: Day) -> PriceChanges:
    week = week_of(day.number)
    if week_start(week) != day.number:
        return PriceChanges.empty()
    store = state.store
    old = world.market.prices(store.region, week - 1)
    new = world.market.prices(store.region, week)
    product = state.planogram.products
    product = product[old.paid[product] != new.paid[product]]
    n = len(product)
    promoted = new.paid[product] < new.regular[product]
    kind = np.where(new.markdown[product], PRICE_REASONS.index("markdown"), 1)
    return PriceChanges(
        at_ms=np.full(n, day.from_ms),
        store=np.full(n, store.number),
        product=product,
        old_cents=old.paid[product],
        new_cents=new.paid[product],
        reason=np.where(promoted, kind, PRICE_REASONS.index("regular")),
        until_ms=np.where(promoted, day.midnight_ms + 7 * DAY_MS, -1),
    )


def swap(world: World, giver: StoreState, taker: StoreState, day: Day, touched: Ints) -> None:
    """What one neighbour has far too much of and the other nearly none, by the books, goes over:
    it leaves in the morning, and is there the next day."""
    product = taker.planogram.products[touched]
    at = np.searchsorted(giver.planogram.products, product)
    at = np.minimum(at, len(giver.planogram) - 1)
    both = giver.planogram.products[at] == product
    need_at, have_at = touched[both], at[both]
    need = levels(world, taker, need_at)
    have = levels(world, giver, have_at)
    coming = taker.recorded[need_at] + taker.on_order[need_at]
    surplus = giver.recorded[have_at].astype(np.int64) - have
    units = np.minimum(need - coming, surplus)
    chosen = (coming * 4 < need) & (surplus * 2 > have) & (units > 1)
    chosen &= np.cumsum(chosen) <= _MOST_TRANSFERS
    leave = max(day.from_ms, day.midnight_ms + 9 * HOUR_MS)
    rows = flows_of(
        np.full(int(chosen.sum()), leave),
        have_at[chosen],
        -units[chosen],
        kind=Flow.TRANSFER_OUT,
    )
    giver.plan(world, rows)
