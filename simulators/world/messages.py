"""Events as messages for Kafka: identities, Avro bytes, and when they are to be sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from simulators.world.avro import (
    Bytes,
    Column,
    Number,
    Text,
    chosen,
    digits,
    encode,
    hexadecimal,
    lettered,
)
from simulators.world.baskets import PAYMENTS
from simulators.world.columns import (
    CUSTOMER_EVENTS,
    PRICE_REASONS,
    REASONS,
    CustomerEvents,
    Moves,
    PriceChanges,
    Sales,
)
from tillstream.contracts.catalogue import Catalogue
from tillstream.contracts.identity import pseudonym
from tillstream.contracts.topics import SOURCE_TOPICS, Topic

Ints = npt.NDArray[np.int64]

# Cents as ten-thousandths.
_CENT = 100
# Sequences of a run start at its minute times this, so that a later run's reports are the newer.
_SEQUENCES_A_MINUTE = 1 << 24


@dataclass(frozen=True, slots=True)
class Messages:
    """Rows: `topic` is a place in SOURCE_TOPICS, `store` the store's number (and so the key),
    `due_ms` when to send, `at_ms` the event's own time, `fault` what is wrong with it (0 nothing),
    `identity` by which the platform tells events apart, `value` the bytes."""

    topic: Ints
    store: Ints
    at_ms: Ints
    due_ms: Ints
    fault: Ints
    identity: npt.NDArray[np.bytes_]
    value: list[bytes]

    def __len__(self) -> int:
        return len(self.value)

    def take(self, rows: npt.NDArray[np.intp] | Ints) -> "Messages":
        value = self.value
        return Messages(
            *(self.topic[rows], self.store[rows], self.at_ms[rows], self.due_ms[rows]),
            *(self.fault[rows], self.identity[rows], [value[row] for row in rows.tolist()]),
        )

    def between(self, start: int, end: int | None) -> "Messages":
        """The rows from `start` to before `end`, or the last."""
        rows = slice(start, end)
        return Messages(
            topic=self.topic[rows],
            store=self.store[rows],
            at_ms=self.at_ms[rows],
            due_ms=self.due_ms[rows],
            fault=self.fault[rows],
            identity=self.identity[rows],
            value=self.value[rows],
        )

    @classmethod
    def none(cls) -> "Messages":
        nothing = np.empty(0, dtype=np.int64)
        identity = np.empty(0, dtype="S36")
        return cls(nothing, nothing, nothing, nothing, nothing, identity, [])

    def by_due(self) -> "Messages":
        return self.take(np.argsort(self.due_ms, kind="stable"))


def all_of(parts: Sequence[Messages]) -> Messages:
    """The messages of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    parts = [part for part in parts if len(part)] or [Messages.none()]
    return Messages(
        topic=np.concatenate([part.topic for part in parts]),
        store=np.concatenate([part.store for part in parts]),
        at_ms=np.concatenate([part.at_ms for part in parts]),
        due_ms=np.concatenate([part.due_ms for part in parts]),
        fault=np.concatenate([part.fault for part in parts]),
        identity=np.concatenate([part.identity for part in parts]),
        value=[value for part in parts for value in part.value],
    )


@dataclass(frozen=True, slots=True)
class Writer:
    """Makes messages of one world's events. `run_tag` (48 bits) is part of every identity, and
    `start_ms` orders the sequences of runs."""

    catalogue: Catalogue
    run_tag: int
    start_ms: int
    slot_ms: int
    customer_key: bytes

    def sales(
        self, sales: Sales, number: Ints, *, stamps: Ints, old_till: bool = False
    ) -> Messages:
        """`number` tells the lines of a store and slot apart, `stamps` is the time that the till
        writes on them. An old till's lines have no identity of their own, and no discount: what
        was paid is the price."""
        ref = self.catalogue.versions(Topic.SALES)[0 if old_till else -1]
        paid = sales.paid_cents * _CENT
        columns: dict[str, Column] = {
            "transaction_id": self.tickets(sales),
            "store_id": Text(store_ids(sales.store)),
            "product_id": Text(product_ids(sales.product)),
            "quantity": Number(sales.units),
            "unit_price": Number(paid if old_till else sales.regular_cents * _CENT),
            "timestamp": Number(stamps),
            "customer_id": self.customer_ids(sales.store, sales.customer),
            "payment_method": chosen(PAYMENTS, sales.payment),
        }
        if old_till:
            zero = np.full((len(sales), 2), np.frombuffer(b":0", dtype=np.uint8))
            colon = np.full((len(sales), 1), ord(":"), dtype=np.uint8)
            names = (self.tickets(sales).chars, colon, product_ids(sales.product), zero)
            identity = np.concatenate(names, axis=1)
        else:
            identity = self._uuids(1, sales.store, sales.at_ms, number)
            off = sales.regular_cents - sales.paid_cents
            columns |= {
                "event_id": Text(identity),
                "line_number": Number(sales.line),
                "line_amount": Number(paid * sales.units),
                "discount": Number(off * _CENT * sales.units),
                "promotion_id": promotions(sales),
            }
        return self._messages(Topic.SALES, sales.store, sales.at_ms, identity, ref.version, columns)

    def moves(self, moves: Moves, number: Ints) -> Messages:
        identity = self._uuids(2, moves.store, moves.at_ms, number)
        columns: dict[str, Column] = {
            "inventory_id": Text(identity),
            "store_id": Text(store_ids(moves.store)),
            "product_id": Text(product_ids(moves.product)),
            "quantity_change": Number(moves.change),
            "new_quantity": Number(moves.recorded),
            "reason": Number(self._reasons()[moves.reason]),
            "timestamp": Number(moves.at_ms),
            "sequence": Number(self.sequence(moves.sequence)),
        }
        return self._messages(Topic.INVENTORY, moves.store, moves.at_ms, identity, None, columns)

    def prices(self, prices: PriceChanges, number: Ints) -> Messages:
        identity = self._uuids(3, prices.store, prices.at_ms, number)
        columns: dict[str, Column] = {
            "price_change_id": Text(identity),
            "store_id": Text(store_ids(prices.store)),
            "product_id": Text(product_ids(prices.product)),
            "old_price": Number(prices.old_cents * _CENT),
            "new_price": Number(prices.new_cents * _CENT),
            "reason": chosen(PRICE_REASONS, prices.reason),
            "effective_from": Number(prices.at_ms),
            "effective_to": Number(prices.until_ms, given=prices.until_ms >= 0),
            "timestamp": Number(prices.at_ms),
        }
        return self._messages(Topic.PRICES, prices.store, prices.at_ms, identity, None, columns)

    def customers(self, events: CustomerEvents, number: Ints) -> Messages:
        identity = self._uuids(4, events.store, events.at_ms, number)
        known = events.product >= 0
        columns: dict[str, Column] = {
            "event_id": Text(identity),
            "store_id": Text(store_ids(events.store)),
            "customer_id": self.customer_ids(events.store, events.customer),
            "event_type": chosen(CUSTOMER_EVENTS, events.kind),
            "product_id": Text(product_ids(np.maximum(events.product, 0)), given=known),
            "timestamp": Number(events.at_ms),
        }
        return self._messages(Topic.CUSTOMERS, events.store, events.at_ms, identity, None, columns)

    def sequence(self, counted: Ints) -> Ints:
        return self.start_ms // 60_000 * _SEQUENCES_A_MINUTE + counted

    def _messages(
        self,
        topic: Topic,
        store: Ints,
        at_ms: Ints,
        identity: Bytes,
        version: int | None,
        columns: Mapping[str, Column],
    ) -> Messages:
        refs = self.catalogue.versions(topic)
        ref = refs[-1] if version is None else next(r for r in refs if r.version == version)
        count = len(store)
        return Messages(
            topic=np.full(count, SOURCE_TOPICS.index(topic)),
            store=store,
            at_ms=at_ms,
            due_ms=at_ms,
            fault=np.zeros(count, dtype=np.int64),
            identity=np.ascontiguousarray(identity).view(f"S{identity.shape[1]}").ravel(),
            value=encode(ref, columns, count),
        )

    def _reasons(self) -> Ints:
        fields = self.catalogue.latest(Topic.INVENTORY).schema["fields"]
        (symbols,) = (one["type"]["symbols"] for one in fields if one["name"] == "reason")
        return np.array([symbols.index(name) for name in REASONS])

    def _slot(self, at_ms: Ints) -> Ints:
        # Numbered by the minute: day slots begin at midnights of several zones.
        return at_ms // min(self.slot_ms, 3_600_000)

    def _uuids(self, kind: int, store: Ints, at_ms: Ints, number: Ints) -> Bytes:
        """UUIDs of version 8, whose meaning RFC 9562 leaves to the application: 48 bits of the run,
        the kind of event, 14 bits of store, 28 of the slot, 20 of the number."""
        dash = np.full((len(store), 1), ord("-"), dtype=np.uint8)
        run = np.broadcast_to(hexadecimal(np.array([self.run_tag]), 12), (len(store), 12))
        version = np.broadcast_to(hexadecimal(np.array([0x8000 | kind]), 4), (len(store), 4))
        variant = hexadecimal(0x8000 | store, 4)
        last = hexadecimal(self._slot(at_ms) << 20 | number, 12)
        parts = (run[:, :8], dash, run[:, 8:], dash, version, dash, variant, dash, last)
        return np.concatenate(parts, axis=1)

    def tickets(self, sales: Sales) -> Text:
        """Receipt numbers."""
        dash = np.full((len(sales), 1), ord("-"), dtype=np.uint8)
        run = hexadecimal(np.full(len(sales), self.run_tag & 0xFFFFFF), 6)
        slot = digits(self._slot(sales.at_ms), 8)
        names = (run, dash, digits(sales.store, 4), dash, slot, dash, digits(sales.basket, 5))
        return Text(np.concatenate(names, axis=1))

    def customer_ids(self, store: Ints, customer: Ints) -> Text:
        """The keyed pseudonyms under which customers leave the store; without a key, nobody."""
        if not self.customer_key or not len(store):
            nobody = np.zeros((len(store), 37), dtype=np.uint8)
            return Text(nobody, given=np.zeros(len(store), dtype=bool))
        numbers = (store << 32) | np.maximum(customer, 0)
        unique, row = np.unique(numbers, return_inverse=True)
        names = "".join(_pseudonym(self.customer_key, number) for number in unique.tolist())
        table = np.frombuffer(names.encode("ascii"), dtype=np.uint8).reshape(len(unique), -1)
        return Text(table[row], given=customer >= 0)


@lru_cache(maxsize=65_536)
def _pseudonym(key: bytes, number: int) -> str:
    return pseudonym(key, f"C{number >> 32:04}-{number & 0xFFFFFFFF}")


def promotions(sales: Sales) -> Text:
    """The promotion a line was sold under: that of its week."""
    return Text(lettered("W", digits(np.maximum(sales.week, 0), 5)), given=sales.week >= 0)


def store_ids(store: Ints) -> Bytes:
    return lettered("S", digits(store, 4))


def product_ids(product: Ints) -> Bytes:
    return lettered("P", digits(product, 6))
