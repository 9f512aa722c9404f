"""One store through one slot: who wanted what, what was there, and what the systems said of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.world import told
from simulators.world.baskets import Baskets, Lines, hours_in, shop, within
from simulators.world.chance import Purpose, stream
from simulators.world.columns import (
    CUSTOMER_EVENTS,
    CustomerEvents,
    Orders,
    PriceChanges,
    Sales,
    SlotEvents,
    joined,
)
from simulators.world.daily import begin_day
from simulators.world.market import Shelf
from simulators.world.ordering import Day
from simulators.world.seasons import DAY_MS, visits_by_hour
from simulators.world.shelf import Flow, Flows, Runs, Settled, settle
from simulators.world.state import StoreState, flows_of
from simulators.world.world import World

Ints = npt.NDArray[np.int64]

_VISIT_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Stepped:
    """A slot's events, and what left for the neighbour: (arrival ms, product, units)."""

    events: SlotEvents
    shipped: Ints


@dataclass(frozen=True, slots=True)
class _Asked:
    """Lines of baskets and returns, joined with what they become as flows. `row` of a flow is its
    line's, -1 for a flow that is no line."""

    lines: Lines
    moved_on: Ints


def step(world: World, state: StoreState, start_ms: int, offset_ms: int) -> Stepped:
    """Move a store through the slot that begins at `start_ms` (UTC); `offset_ms` is the store's
    local time less UTC then. Slots must be taken in order."""
    store = state.store
    end_ms = start_ms + world.slot_ms
    number = (start_ms + offset_ms + world.slot_ms // 2) // DAY_MS
    day = Day(number, number * DAY_MS - offset_ms, start_ms)
    prices, orders = PriceChanges.empty(), Orders.empty()
    if state.day != number:
        prices, orders = begin_day(world, state, day)
    shelf = world.market.shelf(store.planogram, store.region, number)
    draw = stream(world.seed, Purpose.SLOT, subject=store.number, at=start_ms // 60_000)
    demand = world.scenario.demand
    flat = demand.profile == "flat"
    by_hour = visits_by_hour(world.seed, store.region, number, flat=flat)
    visits = by_hour * (store.baskets_per_day * demand.traffic)
    if not flat:
        # Days differ by more than chance arrivals make them.
        own = stream(world.seed, Purpose.TRAFFIC, subject=store.number, at=number)
        visits = visits * own.gamma(50.0, 1 / 50.0)
    heat = np.ones(world.catalogue.categories) if flat else world.market.heat(store.region, number)
    baskets, lines = shop(
        draw,
        store,
        state.planogram,
        shelf.cdf,
        heat,
        by_hour=hours_in((start_ms, end_ms), offset_ms, visits, store),
        span=(start_ms, end_ms),
        loyal=demand.loyal,
    )
    agenda = np.concatenate([state.due(world, start_ms, end_ms), *state.agenda.pop(-1, [])])
    asked = _with_substitutes(world, state, shelf, baskets, lines, agenda, draw)
    flows, source = _flows(baskets, asked.lines, agenda)
    order = flows.order()
    flows, source = flows.take(order), source[order]
    runs = Runs.of(flows.position)
    here = flows.position[runs.starts]
    settled = settle(
        flows, runs, state.physical[here].astype(np.int64), state.recorded[here].astype(np.int64)
    )
    errors = told.errors(state, flows, runs, settled)
    moves = told.moves(state, flows, runs, settled)
    sales, sold = _sales(world, state, shelf, baskets, asked.lines, flows, source, settled, agenda)
    _keep(world, state, flows, runs, settled, source, agenda, number)
    _plan_returns(world, state, sales, draw)
    events = SlotEvents(
        sales=sales,
        moves=moves,
        prices=prices,
        customers=_visits(state, baskets, draw),
        demand=told.demand(
            state,
            start_ms,
            asked.lines,
            moved_on=asked.moved_on,
            sold=sold,
            first_choices=len(lines.basket),
        ),
        shelves=told.shelves(state, flows, settled),
        errors=errors,
        orders=joined([orders, told.sent(state, flows, settled)], Orders),
    )
    return Stepped(events, told.shipped(state, flows, settled))


def _flows(baskets: Baskets, lines: Lines, agenda: Ints) -> tuple[Flows, Ints]:
    """Sales and agenda together; `source` is the line's number, or ~ the agenda's row."""
    n = len(lines.basket)
    nothing = np.zeros(n, dtype=np.int64)
    flows = Flows(
        at_ms=np.concatenate([baskets.at_ms[lines.basket], agenda[:, 0]]),
        position=np.concatenate([lines.position, agenda[:, 1]]),
        wanted=np.concatenate([-lines.units, agenda[:, 2]]),
        booked=np.concatenate([nothing, agenda[:, 3]]),
        kind=np.concatenate([np.full(n, int(Flow.SALE)), agenda[:, 4]]),
    )
    return flows, np.concatenate([np.arange(n), ~np.arange(len(agenda))])


def _with_substitutes(
    world: World,
    state: StoreState,
    shelf: Shelf,
    baskets: Baskets,
    lines: Lines,
    agenda: Ints,
    draw: np.random.Generator,
) -> _Asked:
    """Some of those who would not get all they want ask for another product of the category, at
    the same moment. Who is then served is settled for all together."""
    flows, source = _flows(baskets, lines, agenda)
    order = flows.order()
    flows, source = flows.take(order), source[order]
    runs = Runs.of(flows.position)
    here = flows.position[runs.starts]
    settled = settle(
        flows, runs, state.physical[here].astype(np.int64), state.recorded[here].astype(np.int64)
    )
    missing = settled.moved - flows.wanted
    row = source[(missing > 0) & (flows.kind == Flow.SALE)]
    moved_on = np.zeros(len(lines.basket), dtype=np.int64)
    row.sort()
    row = row[draw.random(len(row)) < world.scenario.demand.substitutes]
    if not len(row):
        return _Asked(lines, moved_on)
    by_line = np.zeros(len(lines.basket), dtype=np.int64)
    by_line[source[source >= 0]] = missing[source >= 0]
    product = state.planogram.products[lines.position[row]]
    other = within(draw, state.planogram, shelf.cdf, world.catalogue.category[product])
    key = lines.basket[row] * len(state.planogram) + other
    # Not what is in the basket already, and nothing twice.
    taken = np.isin(key, lines.basket * len(state.planogram) + lines.position)
    _, first = np.unique(key, return_index=True)
    fresh = np.zeros(len(key), dtype=bool)
    fresh[first] = True
    fresh &= ~taken
    row, other = row[fresh], other[fresh]
    moved_on[row] = by_line[row]
    return _Asked(
        Lines(
            basket=np.concatenate([lines.basket, lines.basket[row]]),
            position=np.concatenate([lines.position, other]),
            units=np.concatenate([lines.units, by_line[row]]),
        ),
        np.concatenate([moved_on, np.zeros(len(row), dtype=np.int64)]),
    )


def _sales(
    world: World,
    state: StoreState,
    shelf: Shelf,
    baskets: Baskets,
    lines: Lines,
    flows: Flows,
    source: Ints,
    settled: Settled,
    agenda: Ints,
) -> tuple[Sales, Ints]:
    """Lines of receipts, in order of time; and the units sold by line."""
    sold = np.zeros(len(lines.basket), dtype=np.int64)
    is_line = source >= 0
    sold[source[is_line]] = -settled.moved[is_line]
    kept = np.flatnonzero(sold > 0)
    kept = kept[np.lexsort((kept, lines.basket[kept]))]
    basket = lines.basket[kept]
    product = state.planogram.products[lines.position[kept]]
    regular, paid = shelf.prices.regular[product], shelf.prices.paid[product]
    runs = Runs.of(basket)
    sales = Sales(
        at_ms=baskets.at_ms[basket],
        store=np.full(len(kept), state.store.number),
        product=product,
        units=sold[kept],
        regular_cents=regular,
        paid_cents=paid,
        basket=basket,
        line=runs.running_sum(np.ones(len(kept), dtype=np.int64)),
        customer=baskets.customer[basket],
        till=baskets.till[basket],
        payment=baskets.payment[basket],
        week=np.where(paid < regular, shelf.prices.week, -1),
    )
    back = agenda[agenda[:, 4] == Flow.RETURN]
    if not len(back):
        return sales, sold
    n = len(back)
    units = back[:, 7]
    returns = Sales(
        at_ms=back[:, 0],
        store=np.full(n, state.store.number),
        product=state.planogram.products[back[:, 1]],
        units=-units,
        regular_cents=back[:, 5],
        paid_cents=back[:, 6],
        basket=len(baskets.at_ms) + np.arange(n),
        line=np.ones(n, dtype=np.int64),
        customer=np.full(n, -1),
        till=np.zeros(n, dtype=np.int64),
        payment=np.zeros(n, dtype=np.int64),
        week=np.full(n, -1),
    )
    both = Sales(
        *(np.concatenate([getattr(sales, f), getattr(returns, f)]) for f in Sales.__slots__)
    )
    return both.take(np.argsort(both.at_ms, kind="stable")), sold


def _keep(
    world: World,
    state: StoreState,
    flows: Flows,
    runs: Runs,
    settled: Settled,
    source: Ints,
    agenda: Ints,
    day: int,
) -> None:
    here, last = flows.position[runs.starts], runs.ends
    state.physical[here] = settled.physical[last]
    state.recorded[here] = settled.recorded[last]
    state.touched.append(here)
    came = np.maximum(settled.moved, 0)
    delivered = flows.kind == Flow.DELIVERY
    rows = ~source[delivered]
    np.subtract.at(state.on_order, flows.position[delivered], agenda[rows, 5].astype(np.int32))
    at = state.planogram.perishable[flows.position]
    fresh = (came > 0) & (at >= 0)
    if not fresh.any():
        return
    np.add.at(state.received, at[fresh], came[fresh].astype(np.int32))
    # Units are received in order of time, so the last count of a shelf's run is enough: the rest
    # of the day's goods are as old.
    position = np.unique(flows.position[fresh])
    product = state.planogram.products[position]
    life = world.catalogue.shelf_life_days[product]
    total = state.received[state.planogram.perishable[position]].astype(np.int64)
    for days in np.unique(life).tolist():
        of_life = life == days
        state.expiries[day + days].append((position[of_life], total[of_life]))


def _plan_returns(world: World, state: StoreState, sales: Sales, draw: np.random.Generator) -> None:
    """Some of what was sold comes back after 1 to 14 days, in opening hours, and onto the shelf
    unless it is perishable."""
    chosen = np.flatnonzero(
        (sales.units > 0) & (draw.random(len(sales)) < world.scenario.demand.returned)
    )
    n = len(chosen)
    if not n:
        return
    at = sales.at_ms[chosen] + draw.integers(1, 15, n) * DAY_MS
    product = sales.product[chosen]
    position = np.searchsorted(state.planogram.products, product)
    units = 1 + (draw.random(n) * sales.units[chosen]).astype(np.int64)
    units = np.minimum(units, sales.units[chosen])
    keeps = world.catalogue.shelf_life_days[product] == 0
    back = np.where(keeps, units, 0)
    rows = flows_of(at, position, back, booked=back, kind=Flow.RETURN)
    rows[:, 5], rows[:, 6] = sales.regular_cents[chosen], sales.paid_cents[chosen]
    rows[:, 7] = units
    state.plan(world, rows)


def _visits(state: StoreState, baskets: Baskets, draw: np.random.Generator) -> CustomerEvents:
    """Some of those with a card check in, search or clip a coupon, minutes before they pay."""
    chosen = np.flatnonzero(
        (baskets.customer >= 0) & (draw.random(len(baskets.at_ms)) < _VISIT_SHARE)
    )
    n = len(chosen)
    kind = np.searchsorted([0.7, 0.85, 0.98], draw.random(n))
    searched = np.isin(kind, (CUSTOMER_EVENTS.index("app_search"), 2))
    product = state.planogram.products[(draw.random(n) * len(state.planogram)).astype(np.int64)]
    return CustomerEvents(
        at_ms=baskets.at_ms[chosen],
        store=np.full(n, state.store.number),
        customer=baskets.customer[chosen],
        kind=kind,
        product=np.where(searched, product, -1),
    )
