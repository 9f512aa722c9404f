"""What is truly to be expected of each item's demand, in closed form from the world itself.

A day's visits of a store are Poisson by hour, times a gamma factor of mean 1 and shape 50 that the
whole day shares. A visit has one of three missions, a geometric number N of lines with mean m, and
a product's share p of a mission's lines; a product is at most once in a basket. With
E[z^N] = z/m / (1 - z(1 - 1/m)), a basket holds it with chance 1 - E[(1-p)^N] = p / (p + (1-p)/m).
So demand is compound Poisson, with the units of a line as jumps: its variance over its mean is
E[U²]/E[U], plus a fiftieth of a day's mean for the shared factor.

Left out: what those ask for who did not get something else, returns, thefts, breakages, expiry, and
the cap on lines in a basket.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from simulators.world.baskets import hours_in
from simulators.world.chain import first_midnight_ms, offset_of
from simulators.world.fitted import fitted
from simulators.world.seasons import DAY_MS, HOUR_MS, visits_by_hour
from simulators.world.stores import Planogram, Store
from simulators.world.world import World
from tillstream.evaluation.exact import Lines
from tillstream.evaluation.items import Items

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# The shape is that of a store-day's own factor: `simulators.world.store.step`.
LINES: Final = Lines(fitted().units, 50.0)


class TrueDemand:
    """Mean units of every item over time. `daily` is (items, slots): slots are the days of
    `Chain.slots`, from each store's own midnight."""

    def __init__(self, world: World, items: Items) -> None:
        slots = (world.end_ms - world.start_ms) // DAY_MS
        self._items = items
        self._start_ms = np.array([first_midnight_ms(world, store) for store in world.stores])
        self.daily = np.zeros((len(items), slots))
        # Share of a slot's demand before each of its hours, the end included.
        self._by_hour = np.zeros((len(world.stores), slots, 25))
        for slot in range(slots):
            for store in world.stores:
                start_ms = int(self._start_ms[store.number]) + slot * DAY_MS
                baskets = _baskets_by_hour(world, store, start_ms)
                self.daily[items.of_store(store.number), slot] = baskets.sum() * _units_a_basket(
                    world, store, start_ms
                )
                total = max(float(baskets.sum()), 1e-12)
                self._by_hour[store.number, slot, 1:] = np.cumsum(baskets) / total
        self._before = np.concatenate(
            [np.zeros((len(items), 1)), np.cumsum(self.daily, axis=1)], axis=1
        )

    def until(self, rows: Ints, at_ms: Ints) -> Floats:
        """Mean units from each item's first midnight until `at_ms` (n,) or (n, k)."""
        store = self._items.store[rows]
        extra = (1,) * (np.ndim(at_ms) - np.ndim(rows))
        rows, store = rows.reshape(rows.shape + extra), store.reshape(store.shape + extra)
        since = np.maximum(at_ms - self._start_ms[store], 0)
        slot = np.minimum(since // DAY_MS, self.daily.shape[1] - 1)
        hours = np.minimum((since - slot * DAY_MS) / HOUR_MS, 24.0)
        hour = np.minimum(hours.astype(np.int64), 23)
        low, high = self._by_hour[store, slot, hour], self._by_hour[store, slot, hour + 1]
        part = low + (high - low) * (hours - hour)
        return np.asarray(self._before[rows, slot] + self.daily[rows, slot] * part)

    def at(self, rows: Ints, as_of_ms: int) -> Floats:
        """Mean units of the first whole day after a moment."""
        slot = (as_of_ms - self._start_ms[self._items.store[rows]]) // DAY_MS + 1
        return np.asarray(self.daily[rows, np.clip(slot, 0, self.daily.shape[1] - 1)])

    def dispersion(self, rows: Ints, as_of_ms: int) -> Floats:
        """Variance over mean of demand around a moment."""
        return LINES.dispersion + self.at(rows, as_of_ms) / LINES.day_shape


def _baskets_by_hour(world: World, store: Store, start_ms: int) -> Floats:
    demand, offset_ms = world.scenario.demand, offset_of(store, start_ms)
    by_hour = visits_by_hour(
        world.seed, store.region, _day(start_ms, offset_ms), flat=demand.profile == "flat"
    )
    visits = by_hour * (store.baskets_per_day * demand.traffic)
    return hours_in((start_ms, start_ms + DAY_MS), offset_ms, visits, store)


def _units_a_basket(world: World, store: Store, start_ms: int) -> Floats:
    """Mean units in a basket, by position of the store's planogram."""
    number = _day(start_ms, offset_of(store, start_ms))
    planogram, shape = world.planograms[store.planogram], fitted()
    shelf = world.market.shelf(store.planogram, store.region, number)
    taste = store.taste
    if world.scenario.demand.profile != "flat":
        taste = taste * world.market.heat(store.region, number)
    share = _share_of_lines(planogram, shelf.cdf, taste / taste.sum(axis=1, keepdims=True))
    lines = shape.mission_mean_lines[:, None]
    held = share / (share + (1 - share) / lines)
    return np.asarray(shape.mission_share @ held * shape.units_per_line)


def _share_of_lines(planogram: Planogram, cdf: Floats, taste: Floats) -> Floats:
    """(missions, positions): a category by taste, then a product by weight."""
    weight = np.diff(cdf, prepend=0.0)
    sizes = np.diff(planogram.starts)
    category = np.repeat(np.arange(len(sizes)), sizes)
    within = weight / np.add.reduceat(weight, planogram.starts[:-1])[category]
    return np.asarray(taste[:, category] * within)


def _day(start_ms: int, offset_ms: int) -> int:
    return (start_ms + offset_ms + DAY_MS // 2) // DAY_MS
