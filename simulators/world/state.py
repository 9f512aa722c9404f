"""One store as it changes: its shelves, its books, and what is on its way."""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulators.world.chance import Purpose, stream
from simulators.world.fitted import fitted
from simulators.world.seasons import DAY_MS, HOUR_MS
from simulators.world.shelf import Flow
from simulators.world.stores import Planogram, Store
from simulators.world.world import World

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Standard normal quantile of a 95 % chance of lasting until the next delivery.
_SERVICE_Z = 1.645
_DISPERSION = 1.6
_MOST_ON_ITS_WAY = np.iinfo(np.int16).max
# at_ms, position, wanted, booked, kind, regular_cents, paid_cents, is it a transfer's other end
AGENDA_COLUMNS = 8


@dataclass(slots=True)
class StoreState:
    """`physical` and `recorded` units, reports so far (`sequence`) and units `on_order` by position
    of the planogram. `received` counts all units a perishable ever got: what is left of the first
    n of them follows from it, since the oldest are sold first."""

    store: Store
    planogram: Planogram
    physical: npt.NDArray[np.int32]
    recorded: npt.NDArray[np.int32]
    sequence: npt.NDArray[np.int32]
    on_order: npt.NDArray[np.int32]
    received: npt.NDArray[np.int32]
    category_rate: Floats
    opening_orders: npt.NDArray[np.int16] | None = None
    day: int | None = None
    touched: list[Ints] = field(default_factory=list)
    agenda: dict[int, list[Ints]] = field(default_factory=lambda: defaultdict(list))
    expiries: dict[int, list[tuple[Ints, Ints]]] = field(default_factory=lambda: defaultdict(list))
    scheduled_shocks: bool = False

    def plan(self, world: World, rows: Ints) -> None:
        """Put flows (rows of AGENDA_COLUMNS) on the agenda, none before the slot at hand."""
        if not len(rows):
            return
        number = rows[:, 0] // _unit_ms(world)
        for each in np.unique(number).tolist():
            self.agenda[each].append(rows[number == each])

    def due(self, world: World, start_ms: int, end_ms: int) -> Ints:
        """The flows of a slot, taken off the agenda."""
        unit = _unit_ms(world)
        found = [
            part
            for number in range(start_ms // unit, end_ms // unit)
            for part in self.agenda.pop(number, ())
        ]
        return np.concatenate(found) if found else np.empty((0, AGENDA_COLUMNS), dtype=np.int64)


def _unit_ms(world: World) -> int:
    """What the agenda is kept by. A day slot begins at the store's own midnight, a whole hour."""
    return min(world.slot_ms, HOUR_MS)


def rates(world: World, state: StoreState, position: Ints) -> Floats:
    """Units a day that each position is expected to sell, as its planners know it."""
    product = state.planogram.products[position]
    catalogue = world.catalogue
    return np.asarray(state.category_rate[catalogue.category[product]] * catalogue.weight[product])


def levels(world: World, state: StoreState, position: Ints) -> Ints:
    """Reorder points: a day and a lead time of demand, nineteen times in twenty."""
    product = state.planogram.products[position]
    lead = world.catalogue.suppliers.lead_days[world.catalogue.supplier[product]]
    mean = rates(world, state, position) * (1 + lead)
    level = np.ceil(mean + _SERVICE_Z * np.sqrt(_DISPERSION * mean)).astype(np.int64)
    return np.maximum(level, 2)


def open_store(world: World, store: Store) -> StoreState:
    """A store as the run begins: between deliveries, its books as wrong as in life."""
    planogram = world.planograms[store.planogram]
    catalogue, records = world.catalogue, world.scenario.records
    weight = catalogue.weight[planogram.products]
    by_category = np.add.reduceat(weight, planogram.starts[:-1])
    shape = fitted()
    lines = shape.mission_share * shape.mission_mean_lines * store.baskets_per_day
    units = (lines @ store.taste) * shape.units_per_line * world.scenario.demand.traffic
    every = np.arange(len(planogram))
    n = len(planogram)
    small = np.zeros(n, dtype=np.int32)
    life = catalogue.shelf_life_days[planogram.products]
    state = StoreState(
        store=store,
        planogram=planogram,
        physical=small,
        recorded=small,
        sequence=small.copy(),
        on_order=small.copy(),
        received=small,
        category_rate=units / by_category,
    )
    draw = stream(world.seed, Purpose.OPENING, subject=store.number)
    # Ordered in packs below the reorder point, the position is anywhere up to a pack above it; what
    # sold within a lead time is still on its way.
    pack = catalogue.pack_units[planogram.products]
    lead = catalogue.suppliers.lead_days[catalogue.supplier[planogram.products]]
    has = levels(world, state, every) + (draw.random(n) * pack).astype(np.int64)
    sold = draw.poisson(rates(world, state, every) * lead)
    coming = np.minimum(np.minimum(sold, has), _MOST_ON_ITS_WAY) // pack * pack
    recorded = np.maximum(has - sold, has % pack)
    state.on_order = coming.astype(np.int32)
    state.opening_orders = coming.astype(np.int16)
    wrong = draw.random(n) < records.wrong_at_start
    mean = np.maximum(records.error_share * recorded / max(records.wrong_at_start, 1e-9) - 1, 0)
    size = 1 + np.floor(-np.log(1 - draw.random(n)) * mean).astype(np.int64)
    error = np.where(wrong, np.where(draw.random(n) < 0.55, -size, size), 0)
    state.recorded = recorded.astype(np.int32)
    state.physical = np.maximum(recorded + error, 0).astype(np.int32)
    fresh = np.flatnonzero(life > 0)
    state.received = state.physical[fresh].copy()
    # What lies there was delivered some time within its shelf life.
    left_days = 1 + (draw.random(len(fresh)) * life[fresh]).astype(np.int64)
    first_day = world.start_ms // DAY_MS
    for days in np.unique(left_days).tolist():
        here = fresh[left_days == days]
        state.expiries[first_day + days].append((here, state.physical[here].astype(np.int64)))
    return state


def flows_of(
    at_ms: Ints, position: Ints, wanted: Ints | int, *, booked: Ints | int = 0, kind: Flow
) -> Ints:
    """Rows for the agenda."""
    rows = np.zeros((len(position), AGENDA_COLUMNS), dtype=np.int64)
    rows[:, 0], rows[:, 1], rows[:, 2] = at_ms, position, wanted
    rows[:, 3], rows[:, 4] = booked, int(kind)
    return rows
