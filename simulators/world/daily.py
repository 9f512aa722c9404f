"""What a store does once a day: order, write off what has expired, count, swap with its neighbour.

Staff act on the books; only what has expired is judged by what truly lies there.
"""

import numpy as np
import numpy.typing as npt

from simulators.world.chance import Purpose, stream
from simulators.world.columns import PRICE_REASONS, Orders, PriceChanges
from simulators.world.fitted import fitted
from simulators.world.market import week_of, week_start
from simulators.world.ordering import Day, bring_opening_orders, opening_orders, order
from simulators.world.scenario import ColdChainFailure
from simulators.world.seasons import DAY_MS, HOUR_MS
from simulators.world.shelf import Flow
from simulators.world.state import StoreState, flows_of, levels
from simulators.world.world import World

Ints = npt.NDArray[np.int64]

_MOST_TRANSFERS = 20
# Departments whose goods must stay cold.
_CHILLED = (3, 4, 5, 7)


def begin_day(world: World, state: StoreState, day: Day) -> tuple[PriceChanges, Orders]:
    """Plan a day, and make the price changes and orders that it begins with; the first day's are
    what was on its way already."""
    draw = stream(world.seed, Purpose.DAY, subject=state.store.number, at=day.number)
    first = state.day is None
    touched = np.unique(np.concatenate(state.touched)) if state.touched else np.empty(0, np.int64)
    state.touched.clear()
    orders = opening_orders(world, state, day) if first else Orders.empty()
    bring_opening_orders(world, state, day)
    if not first:
        orders = order(world, state, day, touched, draw)
        _expire(state, day)
    _lose(world, state, day, draw)
    _count(world, state, day, touched, draw)
    if not state.scheduled_shocks:
        state.scheduled_shocks = True
        _spoil(world, state)
    changes = PriceChanges.empty() if first else _reprice(world, state, day)
    state.day = day.number
    return changes, orders


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
