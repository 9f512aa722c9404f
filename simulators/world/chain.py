"""A share of the chain through time, slot by slot."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from simulators.world.columns import (
    CustomerEvents,
    DemandTruth,
    ErrorTruth,
    Moves,
    Orders,
    PriceChanges,
    Sales,
    ShelfTruth,
    SlotEvents,
    joined,
)
from simulators.world.daily import swap
from simulators.world.ordering import Day
from simulators.world.seasons import DAY_MS
from simulators.world.shelf import Flow
from simulators.world.state import StoreState, flows_of, open_store
from simulators.world.store import Stepped, step
from simulators.world.stores import Store
from simulators.world.world import World

Ints = npt.NDArray[np.int64]


def share_of(world: World, share: int, shares: int) -> list[Store]:
    """The stores of one of `shares` processes: neighbours stay together, for they swap goods."""
    return [store for store in world.stores if store.number // 2 % shares == share]


class Chain:
    """Some of a world's stores, as they change. `slots` moves them all through time together."""

    def __init__(self, world: World, stores: Sequence[Store]) -> None:
        self.world = world
        self.stores = stores
        self.states = [open_store(world, store) for store in stores]
        self._by_number = {state.store.number: state for state in self.states}
        self._midnights: dict[int, int] = {}

    def initially_empty(self) -> ShelfTruth:
        """Shelves with nothing on them as the run begins."""
        parts = []
        for state in self.states:
            products = state.planogram.products[state.physical == 0]
            n = len(products)
            parts.append(
                ShelfTruth(
                    at_ms=np.full(n, self.world.start_ms),
                    store=np.full(n, state.store.number),
                    product=products,
                    is_empty=np.ones(n, dtype=np.int64),
                )
            )
        return joined(parts, ShelfTruth)

    def slots(self) -> Iterator[SlotEvents]:
        """The events of each slot, store by store, each store's in order of time within a kind."""
        world = self.world
        for start_ms in range(world.start_ms, world.end_ms, world.slot_ms):
            yield together([self.step(state, start_ms) for state in self.states])

    def step(self, state: StoreState, start_ms: int) -> SlotEvents:
        """One store through the slot at `start_ms`; a day slot begins at its own midnight."""
        world = self.world
        if world.slot_ms == DAY_MS:
            start_ms = self._midnight_ms(state.store) + (start_ms - world.start_ms)
        offset_ms = offset_of(state.store, start_ms)
        neighbour = self._by_number.get(state.store.number ^ 1)
        number = (start_ms + offset_ms + world.slot_ms // 2) // DAY_MS
        if neighbour is not None and state.day not in (None, number) and state.touched:
            day = Day(number, number * DAY_MS - offset_ms, start_ms)
            swap(world, neighbour, state, day, np.unique(np.concatenate(state.touched)))
        stepped = step(world, state, start_ms, offset_ms)
        if neighbour is not None:
            _receive(world, neighbour, stepped)
        return stepped.events

    def _midnight_ms(self, store: Store) -> int:
        if store.region not in self._midnights:
            self._midnights[store.region] = first_midnight_ms(self.world, store)
        return self._midnights[store.region]


def _receive(world: World, taker: StoreState, stepped: Stepped) -> None:
    if not len(stepped.shipped):
        return
    arrives, product, units = stepped.shipped.T
    position = np.searchsorted(taker.planogram.products, product)
    rows = flows_of(arrives, position, units, booked=units, kind=Flow.TRANSFER_IN)
    taker.plan(world, rows)


def first_midnight_ms(world: World, store: Store) -> int:
    """A store's midnight (UTC ms) of the UTC date at which the world begins."""
    began = datetime.fromtimestamp(world.start_ms / 1000, tz=UTC)
    local = datetime(began.year, began.month, began.day, tzinfo=store.zone)
    return int(local.timestamp()) * 1000


def offset_of(store: Store, at_ms: int) -> int:
    """The store's local time less UTC, in milliseconds."""
    offset = datetime.fromtimestamp(at_ms / 1000, tz=store.zone).utcoffset()
    return int(offset.total_seconds()) * 1000 if offset else 0


def together(parts: Sequence[SlotEvents]) -> SlotEvents:
    """All of them, in the order given."""
    return SlotEvents(
        sales=joined([part.sales for part in parts], Sales),
        moves=joined([part.moves for part in parts], Moves),
        prices=joined([part.prices for part in parts], PriceChanges),
        customers=joined([part.customers for part in parts], CustomerEvents),
        demand=joined([part.demand for part in parts], DemandTruth),
        shelves=joined([part.shelves for part in parts], ShelfTruth),
        errors=joined([part.errors for part in parts], ErrorTruth),
        orders=joined([part.orders for part in parts], Orders),
    )
