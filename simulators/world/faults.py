"""What goes wrong between a store and Kafka, done to messages on purpose and written down.

Which event suffers depends on seed, store and slot alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from simulators.world.chance import Purpose, stream
from simulators.world.columns import Sales, SlotEvents, numbered
from simulators.world.messages import Messages, Writer, all_of
from simulators.world.scenario import Faults, StoreOffline
from simulators.world.stores import Store
from simulators.world.world import MINUTE_MS, World

Ints = npt.NDArray[np.int64]


class Fault(IntEnum):
    """One message's one fault. The numbers are in manifests."""

    NONE = 0
    DUPLICATE = 1
    RESENT = 2
    LATE = 3
    REORDERED = 4
    OLD_SCHEMA = 5
    CLOCK_SLOW = 6
    CLOCK_AHEAD = 7
    CLOCK_RESET = 8
    BAD_MAGIC = 9
    BAD_SCHEMA_ID = 10
    TRUNCATED = 11
    EMPTY = 12


COUNTED: Final = "counted"
DUPLICATE: Final = "duplicate"

# Where the pipeline must have put such a message; a refused one has its reason for quarantine.
EXPECTED: Mapping[Fault, str] = MappingProxyType(
    {
        Fault.DUPLICATE: DUPLICATE,
        Fault.RESENT: DUPLICATE,
        Fault.LATE: COUNTED,
        Fault.REORDERED: COUNTED,
        Fault.OLD_SCHEMA: COUNTED,
        Fault.CLOCK_SLOW: COUNTED,
        Fault.CLOCK_AHEAD: "future_timestamp",
        Fault.CLOCK_RESET: "ancient_timestamp",
        Fault.BAD_MAGIC: "bad_magic_byte",
        Fault.BAD_SCHEMA_ID: "unknown_schema_id",
        Fault.TRUNCATED: "undecodable",
        Fault.EMPTY: "empty_value",
    }
)
FIRST_REFUSED: Final = Fault.CLOCK_AHEAD

_SLOW_MS = -7 * MINUTE_MS
# A clock without a battery says 1970; one that was set wrongly is decades ahead, and so ahead of
# the broker's whatever day a scenario plays on.
_AHEAD_MS = 60 * 365 * 86_400_000
_COPY_WITHIN_S = 120
_BURST_SPEED = 100
_UNKNOWN_SCHEMA = 99_999


def plain(writer: Writer, events: SlotEvents) -> Messages:
    """All events of a slot as messages, without faults, in the order they are due."""
    numbers = [numbered(one) for one in (events.sales, events.moves)]
    return all_of(
        [
            writer.sales(events.sales, numbers[0], stamps=events.sales.at_ms),
            writer.moves(events.moves, numbers[1]),
            writer.prices(events.prices, numbered(events.prices)),
            writer.customers(events.customers, numbered(events.customers)),
        ]
    ).by_due()


class Mishaps:
    """Makes the messages of a world's slots, with the faults of its scenario."""

    def __init__(self, world: World, writer: Writer) -> None:
        self._world = world
        self._writer = writer
        self._plan: Faults = world.scenario.fault_plan
        self._offline = [
            (number, shock)
            for number, shock in enumerate(world.scenario.shocks)
            if isinstance(shock, StoreOffline)
        ]
        self._cut_off = {number: self._stores_of(number, s.stores) for number, s in self._offline}

    def messages(self, events: SlotEvents, start_ms: int) -> Messages:
        """The messages of the slot at `start_ms`, by when they are due: some of them long after."""
        if not self._plan.any and not self._offline:
            return plain(self._writer, events)
        found = []
        for number in np.unique(_stores(events)).tolist():
            store = self._world.stores[number]
            found.append(self._of_store(store, _only(events, number), start_ms))
        return all_of(found).by_due()

    def _of_store(self, store: Store, events: SlotEvents, start_ms: int) -> Messages:
        plan = self._plan
        at = start_ms // MINUTE_MS
        draw = stream(self._world.seed, Purpose.FAULTS, subject=store.number, at=at)
        sales = events.sales
        number = numbered(sales)
        stamps, clock = self._clocks(sales, store, draw)
        own = stream(self._world.seed, Purpose.FAULTS, subject=store.number)
        old_tills = np.flatnonzero(own.random(store.format.tills) < plan.old_tills)
        old = np.isin(sales.till, old_tills)
        parts = []
        for rows, old_till in ((np.flatnonzero(~old), False), (np.flatnonzero(old), True)):
            made = self._writer.sales(
                sales.take(rows), number[rows], stamps=stamps[rows], old_till=old_till
            )
            fault = clock[rows]
            if old_till:
                fault = np.where(fault == 0, int(Fault.OLD_SCHEMA), fault)
            parts.append(replace(made, fault=fault))
        tills = np.concatenate([sales.till[~old], sales.till[old]])
        parts.append(self._writer.moves(events.moves, numbered(events.moves)))
        parts.append(self._writer.prices(events.prices, numbered(events.prices)))
        parts.append(self._writer.customers(events.customers, numbered(events.customers)))
        messages = all_of(parts)
        till = np.concatenate([tills, np.full(len(messages) - len(tills), -1)])
        messages = self._shuffled(self._corrupted(messages, draw), draw)
        messages = self._held_back(messages, store, start_ms, draw)
        copies = self._copies(messages, till, store, draw)
        return all_of([messages, *copies])

    def _clocks(self, sales: Sales, store: Store, draw: np.random.Generator) -> tuple[Ints, Ints]:
        """What the tills write as the time, and the fault of each line."""
        chance, till = draw.random(), int(draw.integers(0, store.format.tills))
        fault = Fault(int(draw.integers(Fault.CLOCK_SLOW, Fault.CLOCK_RESET + 1)))
        stamps, faults = sales.at_ms, np.zeros(len(sales), dtype=np.int64)
        if chance >= self._plan.clock_wrong:
            return stamps, faults
        wrong = sales.till == till
        told = {
            Fault.CLOCK_SLOW: stamps + _SLOW_MS,
            Fault.CLOCK_AHEAD: stamps + _AHEAD_MS,
            Fault.CLOCK_RESET: stamps % 86_400_000,
        }[fault]
        return np.where(wrong, told, stamps), np.where(wrong, int(fault), 0)

    def _corrupted(self, messages: Messages, draw: np.random.Generator) -> Messages:
        hit = (draw.random(len(messages)) < self._plan.corrupted) & (messages.fault == 0)
        kinds = draw.integers(Fault.BAD_MAGIC, Fault.EMPTY + 1, len(messages))
        value = list(messages.value)
        for row in np.flatnonzero(hit).tolist():
            value[row] = _broken(value[row], Fault(int(kinds[row])))
        return replace(messages, value=value, fault=np.where(hit, kinds, messages.fault))

    def _shuffled(self, messages: Messages, draw: np.random.Generator) -> Messages:
        hit = (draw.random(len(messages)) < self._plan.reordered) & (messages.fault == 0)
        most = max(2, int(self._plan.reordered_by_s * 1000))
        later = draw.integers(1, most, len(messages))
        return replace(
            messages,
            due_ms=messages.due_ms + np.where(hit, later, 0),
            fault=np.where(hit, int(Fault.REORDERED), messages.fault),
        )

    def _held_back(
        self, messages: Messages, store: Store, start_ms: int, draw: np.random.Generator
    ) -> Messages:
        until = np.zeros(len(messages), dtype=np.int64)
        if draw.random() < self._plan.late:
            by_ms = int(self._plan.late_by_minutes * MINUTE_MS)
            until[:] = start_ms + self._world.slot_ms + by_ms
        for number, shock in self._offline:
            if store.number not in self._cut_off[number]:
                continue
            began = self._world.start_ms + int(shock.after_minutes * MINUTE_MS)
            ended = began + int(shock.minutes * MINUTE_MS)
            inside = (messages.due_ms >= began) & (messages.due_ms < ended)
            until = np.where(inside, np.maximum(until, ended), until)
        held = until > 0
        if not held.any():
            return messages
        # What waited goes out in the order it happened, a hundred times as fast.
        due = until + (messages.due_ms - self._world.start_ms) // _BURST_SPEED
        return replace(
            messages,
            due_ms=np.where(held, due, messages.due_ms),
            fault=np.where(held & (messages.fault == 0), int(Fault.LATE), messages.fault),
        )

    def _copies(
        self, messages: Messages, till: Ints, store: Store, draw: np.random.Generator
    ) -> list[Messages]:
        """Sent again: some events soon after, and now and then all that one till has sold."""
        n = len(messages)
        twice = (draw.random(n) < self._plan.duplicates) & (messages.fault == 0)
        after = draw.integers(1, _COPY_WITHIN_S * 1000, n)
        copies = [_copied(messages, twice, after, Fault.DUPLICATE)]
        chance, again = draw.random(), int(draw.integers(0, store.format.tills))
        if chance < self._plan.resent:
            rows = (till == again) & (messages.fault < FIRST_REFUSED)
            by_ms = np.full(n, int(self._plan.resent_after_minutes * MINUTE_MS))
            copies.append(_copied(messages, rows, by_ms, Fault.RESENT))
        return copies

    def _stores_of(self, shock: int, share: float) -> frozenset[int]:
        draw = stream(self._world.seed, Purpose.SHOCK, subject=shock)
        hit = draw.random(len(self._world.stores)) < share
        if not hit.any():
            hit[0] = True
        return frozenset(np.flatnonzero(hit).tolist())


def _copied(messages: Messages, rows: npt.NDArray[np.bool_], after: Ints, fault: Fault) -> Messages:
    chosen = np.flatnonzero(rows)
    part = messages.take(chosen)
    return replace(
        part,
        due_ms=part.due_ms + after[chosen],
        fault=np.full(len(chosen), int(fault)),
    )


def _broken(value: bytes, fault: Fault) -> bytes:
    match fault:
        case Fault.BAD_MAGIC:
            return b"\x7b" + value[1:]
        case Fault.BAD_SCHEMA_ID:
            return value[:1] + _UNKNOWN_SCHEMA.to_bytes(4, "big") + value[5:]
        case Fault.TRUNCATED:
            return value[: len(value) // 2]
        case _:
            return b""


def _stores(events: SlotEvents) -> Ints:
    parts = (events.sales, events.moves, events.prices, events.customers)
    return np.concatenate([part.store for part in parts])


def _only(events: SlotEvents, store: int) -> SlotEvents:
    return replace(
        events,
        sales=events.sales.take(np.flatnonzero(events.sales.store == store)),
        moves=events.moves.take(np.flatnonzero(events.moves.store == store)),
        prices=events.prices.take(np.flatnonzero(events.prices.store == store)),
        customers=events.customers.take(np.flatnonzero(events.customers.store == store)),
    )
