"""The risk that somebody would tell who knows the world's true demand and lead times."""

import numpy as np
import numpy.typing as npt

from simulators.world.chain import offset_of
from simulators.world.ordering import after_strikes
from simulators.world.seasons import DAY_MS
from simulators.world.world import World
from tillstream.evaluation.arrivals import MOST_DAYS_LATE, arrivals, with_strikes_begun
from tillstream.evaluation.books import OnTheWay, Snapshot
from tillstream.evaluation.demand import LINES, TrueDemand
from tillstream.evaluation.exact import Events, runs_empty
from tillstream.evaluation.items import Items
from tillstream.evaluation.spoilage import spoilt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Oracle:
    """Risk with the world's true demand and lead times, and strikes once they have begun. Time is
    counted in units of each item's own mean demand, so opening hours, weekdays, weather and
    promotions to come are all in it; so is what expires."""

    def __init__(self, world: World, items: Items) -> None:
        self._world = world
        self._items = items
        self.demand = TrueDemand(world, items)

    def risk(
        self,
        snapshot: Snapshot,
        *,
        stock: Ints | None = None,
        error_units: Floats | None = None,
        error_weight: Floats | None = None,
        ends: float | None = None,
    ) -> Floats:
        """(n,) of the snapshot's items, with the recorded stock or another, which is exact unless
        the law of its error is given, (n, E) each. `ends`: see `with_strikes_begun`."""
        rows, n, now = snapshot.row, len(snapshot), snapshot.as_of_ms
        world = with_strikes_begun(self._world, now, ends=ends)
        law = arrivals(world, self._items, now)
        begun = self.demand.until(rows, np.full(n, now))
        come_ms = _come_ms(world, self._items, snapshot)
        way = snapshot.on_the_way
        units = (snapshot.recorded if stock is None else stock)[:, None]
        if error_units is None or error_weight is None:
            error_units, error_weight = np.zeros((n, 1)), np.ones((n, 1))
        exact = runs_empty(
            LINES,
            Events.of(
                self.demand.until(rows, law.at_ms[rows]) - begun[:, None],
                law.weight[rows],
                item=way.item,
                at_units=self.demand.until(rows[way.item], come_ms) - begun[way.item],
                units=way.units,
            ),
            daily_units=self.demand.at(rows, now),
            stock=units + np.rint(error_units).astype(np.int64),
            chance=error_weight,
        )
        expired = spoilt(world, self._items, self.demand, snapshot, law=law, come_ms=come_ms)
        return np.maximum(exact, expired)


def _come_ms(world: World, items: Items, snapshot: Snapshot) -> Ints:
    """When goods on their way come: as promised, or in the middle of what days late are left, and
    not during a strike that has begun."""
    way: OnTheWay = snapshot.on_the_way
    overdue = np.maximum(snapshot.as_of_ms - way.expected_ms, 0)
    least = -(-overdue // DAY_MS)
    late = np.where(overdue > 0, np.maximum(least, (least + MOST_DAYS_LATE) // 2), 0)
    come_ms = way.expected_ms + late * DAY_MS
    row = snapshot.row[way.item]
    supplier = world.catalogue.supplier[items.product[row]]
    for store in world.stores:
        here = np.flatnonzero((items.store[row] == store.number) & ~way.is_transfer)
        offset_ms = offset_of(store, snapshot.as_of_ms)
        today = (snapshot.as_of_ms + offset_ms) // DAY_MS
        days = (come_ms[here] + offset_ms) // DAY_MS - today
        held = after_strikes(world, today, supplier[here], days)
        come_ms[here] += (held - days) * DAY_MS
    return np.asarray(come_ms)
