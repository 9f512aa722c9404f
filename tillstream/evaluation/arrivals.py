"""When an order that is placed at a moment arrives: by promise, by law, and as it turns out.

An order of a store's local day D comes with the truck of day D + the supplier's lead time. With the
supplier's chance of a delay it comes 1, 2 or 3 days later, each as likely, and a strike holds back
what would come while it lasts: `simulators.world.ordering`.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from simulators.world.chain import offset_of
from simulators.world.ordering import after_strikes, truck_ms
from simulators.world.scenario import Shock, SupplierStrike
from simulators.world.seasons import DAY_MS
from simulators.world.world import World
from tillstream.evaluation.items import Items
from tillstream.learning.orders import held_up_longer_ms
from tillstream.learning.supply import DEFAULT_TRUCK_MS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MOST_DAYS_LATE = 3
_NEVER = 1 << 20


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Of an order placed now, by item: when it is promised for (n,), and its law, times (n, 4) and
    their weights (n, 4)."""

    promised_ms: Ints
    at_ms: Ints
    weight: Floats

    def drawn(self, draw: np.random.Generator) -> Ints:
        """When it comes, (n,)."""
        edges = np.cumsum(self.weight, axis=1)
        which = (draw.random(len(edges))[:, None] >= edges).sum(axis=1)
        which = np.minimum(which, edges.shape[1] - 1)
        return np.asarray(self.at_ms[np.arange(len(which)), which])


def arrivals(world: World, items: Items, as_of_ms: int) -> Arrivals:
    """Of orders placed at `as_of_ms`. Hand in `with_strikes_begun` for a law that knows no strike
    before it begins."""
    suppliers = world.catalogue.suppliers
    supplier = world.catalogue.supplier[items.product]
    lead = suppliers.lead_days[supplier]
    n, late = len(items), np.arange(MOST_DAYS_LATE + 1)
    at_ms = np.empty((n, len(late)), dtype=np.int64)
    promised_ms = np.empty(n, dtype=np.int64)
    for store in world.stores:
        here = items.of_store(store.number)
        offset_ms = offset_of(store, as_of_ms)
        day = (as_of_ms + offset_ms) // DAY_MS
        truck = truck_ms(store, day * DAY_MS - offset_ms)
        promised_ms[here] = truck + lead[here] * DAY_MS
        for days_late in late:
            days = after_strikes(world, day, supplier[here], lead[here] + days_late)
            at_ms[here, days_late] = truck + days * DAY_MS
    delay = suppliers.delay[supplier][:, None]
    weight = np.where(late == 0, 1 - delay, delay / MOST_DAYS_LATE)
    return Arrivals(promised_ms, at_ms, weight)


def with_strikes_begun(world: World, as_of_ms: int, *, ends: float | None = None) -> World:
    """The same world, in which strikes that have not begun never do. With `ends` nobody is told
    when one ends before its first truck has come: it goes on for as long as
    `held_up_longer_ms` says, with that chance of going on longer."""
    day = (as_of_ms - world.start_ms) // DAY_MS

    def known(shock: Shock) -> Shock:
        if not isinstance(shock, SupplierStrike):
            return shock
        if shock.from_day >= day:
            return shock.model_copy(update={"from_day": _NEVER})
        if ends is None or shock.from_day + shock.days < day:
            return shock
        lasted = day - shock.from_day
        longer_ms = held_up_longer_ms(np.array([lasted * DAY_MS]), [ends])[0, 0]
        # Trucks come in the morning: what ends before is over that day.
        more = max(0, -(-(int(longer_ms) - DEFAULT_TRUCK_MS) // DAY_MS))
        return shock.model_copy(update={"days": lasted + more})

    # A shock's number names its chance, so none may be left out.
    shocks = tuple(known(shock) for shock in world.scenario.shocks)
    return replace(world, scenario=world.scenario.model_copy(update={"shocks": shocks}))
