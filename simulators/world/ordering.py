"""Orders and the trucks that bring them: when goods come that a store orders on a day."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.world.chance import Purpose, stream
from simulators.world.columns import Orders
from simulators.world.scenario import SupplierStrike
from simulators.world.seasons import DAY_MS, HOUR_MS
from simulators.world.shelf import Flow
from simulators.world.state import StoreState, flows_of, levels
from simulators.world.stores import Store
from simulators.world.world import World

Ints = npt.NDArray[np.int64]

_TRUCK_HOUR = 4
_CLOSING_HOUR = 22


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


def order(
    world: World, state: StoreState, day: Day, touched: Ints, draw: np.random.Generator
) -> Orders:
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
    lead = catalogue.suppliers.lead_days[supplier]
    days = lead + late * draw.integers(1, 4, n)
    days = after_strikes(world, day.number, supplier, days)
    is_short = draw.random(n) < catalogue.suppliers.short[supplier]
    sent = np.where(is_short, (units * draw.uniform(0.3, 0.95, n)).astype(np.int64), units)
    unnoticed = draw.random(n) < scenario.records.unnoticed_short
    state.on_order[position] += units.astype(np.int32)
    at = truck_ms(state.store, day.midnight_ms) + days * DAY_MS
    rows = flows_of(at, position, sent, booked=np.where(unnoticed, units, sent), kind=Flow.DELIVERY)
    rows[:, 5] = units  # what leaves the order book, whatever came
    state.plan(world, rows)
    return Orders(
        ordered_at_ms=np.full(n, day.from_ms),
        store=np.full(n, state.store.number),
        product=product,
        units=units,
        expected_at_ms=truck_ms(state.store, day.midnight_ms) + lead * DAY_MS,
        received_at_ms=at,
        is_transfer=np.zeros(n, dtype=np.int64),
    )


def truck_ms(store: Store, midnight_ms: int) -> int:
    """When the truck comes on the store's local day that begins at `midnight_ms` (UTC)."""
    return midnight_ms + _TRUCK_HOUR * HOUR_MS + store.truck_minute * 60_000


def opening_orders(world: World, state: StoreState, day: Day) -> Orders:
    """What was on its way as the run began: ordered a lead time before the day that
    `bring_opening_orders` brings it."""
    if state.opening_orders is None:
        return Orders.empty()
    coming = np.flatnonzero(state.opening_orders)
    n = len(coming)
    product = state.planogram.products[coming]
    lead = world.catalogue.suppliers.lead_days[world.catalogue.supplier[product]]
    today = truck_ms(state.store, day.midnight_ms)
    since = day.number - (world.start_ms // DAY_MS - 1)
    wait = (coming + state.store.number) % lead + 1 - since
    wait = np.maximum(wait, 0 if today >= day.from_ms else 1)
    return Orders(
        ordered_at_ms=day.midnight_ms + (wait - lead) * DAY_MS,
        store=np.full(n, state.store.number),
        product=product,
        units=state.opening_orders[coming].astype(np.int64),
        expected_at_ms=today + wait * DAY_MS,
        received_at_ms=today + wait * DAY_MS,
        is_transfer=np.zeros(n, dtype=np.int64),
    )


def bring_opening_orders(world: World, state: StoreState, day: Day) -> None:
    """What was on its way as the run began comes over the days of each lead time."""
    if state.opening_orders is None:
        return
    since = day.number - (world.start_ms // DAY_MS - 1)
    coming = np.flatnonzero(state.opening_orders)
    supplier = world.catalogue.supplier[state.planogram.products[coming]]
    lead = world.catalogue.suppliers.lead_days[supplier]
    truck = truck_ms(state.store, day.midnight_ms)
    if truck >= day.from_ms:
        due = coming[(coming + state.store.number) % lead < since]
        units = state.opening_orders[due].astype(np.int64)
        rows = flows_of(np.full(len(due), truck), due, units, booked=units, kind=Flow.DELIVERY)
        rows[:, 5] = units
        state.plan(world, rows)
        state.opening_orders[due] = 0
    if since > lead.max(initial=0):
        state.opening_orders = None


def after_strikes(world: World, day: int, supplier: Ints, days: Ints) -> Ints:
    """The days that goods ordered on the day numbered `day` take, of `days` without strikes."""
    first = world.start_ms // DAY_MS
    for number, shock in enumerate(world.scenario.shocks):
        if not isinstance(shock, SupplierStrike):
            continue
        draw = stream(world.seed, Purpose.SHOCK, subject=number)
        struck = draw.random(len(world.catalogue.suppliers)) < shock.suppliers
        start = first + shock.from_day
        arrives = day + days
        held = struck[supplier] & (arrives >= start) & (arrives < start + shock.days)
        days = np.where(held, start + shock.days - day, days)
    return days
