"""Made-up traffic of a chain: sales, and the stock movements they cause, as bytes ready to send."""

from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

import numpy as np

from tillstream.bench.sales import WINDOW_MS, SaleLines
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic

STORES, PRODUCTS = 1_000, 50_000
# Of the full workload, every so many events is one sent before, as an impatient till would.
DUPLICATE_EVERY = 200
_REMEMBERED = 1_000
# One shelf in a hundred is nearly empty, and so worth an alert soon.
_SCARCE_EVERY = 101
_DELIVERY = 48


class Traffic(StrEnum):
    """`sales`: sale lines alone, nearly every one in a window of its own. `full`: half sales, half
    the stock movements they cause, and 0.5 % of the events sent twice."""

    SALES = "sales"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Message:
    """One record for Kafka."""

    topic: Topic
    key: bytes
    value: bytes


@dataclass(slots=True)
class Counts:
    """Events made so far, by what must become of them."""

    sales: int = 0
    movements: int = 0
    duplicates: int = 0

    @property
    def total(self) -> int:
        return self.sales + self.movements + self.duplicates


class Chain:
    """Makes the messages of sale lines, and keeps the stock they leave on the shelves.

    The same lines give the same messages. `share` of `shares` names the part of the chain that
    this one speaks for: its event identities are unlike those of any other share.
    """

    def __init__(self, codec: Codec, traffic: Traffic, *, share: int = 0, shares: int = 1) -> None:
        self._codec = codec
        self.traffic = traffic
        self._share = share
        self._shares = shares
        shelves = -(-STORES // shares) * PRODUCTS if traffic is Traffic.FULL else 0
        self._stock = array("h", bytes(2 * shelves))
        self._moves = array("H", bytes(2 * shelves))
        self._recent: deque[Message] = deque(maxlen=_REMEMBERED)
        self.counts = Counts()

    def messages(self, lines: SaleLines) -> Iterator[Message]:
        columns = (lines.store, lines.product, lines.quantity, lines.unit_cents, lines.at_ms)
        for store, product, quantity, cents, at_ms in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            yield from self.sold(store, product, quantity, cents=cents, at_ms=at_ms)

    def sold(
        self, store: int, product: int, quantity: int, *, cents: int, at_ms: int
    ) -> Iterator[Message]:
        """The messages of one sale line."""
        names = (f"S{store:04}", f"P{product:05}")
        sale = self._sale(*names, quantity, cents=cents, at_ms=at_ms)
        self.counts.sales += 1
        yield sale
        if self.traffic is Traffic.SALES:
            return
        movement = self._movement(*names, *self._take(store, product, quantity), at_ms=at_ms)
        self.counts.movements += 1
        yield movement
        self._recent.append(sale)
        self._recent.append(movement)
        if self.counts.total // DUPLICATE_EVERY > self.counts.duplicates:
            self.counts.duplicates += 1
            yield self._recent[0]

    def emptied(self, store_id: str, product_id: str, *, at_ms: int) -> tuple[Message, Message]:
        """The last unit is sold: a sale, and the movement that leaves the shelf empty."""
        sale = self._sale(store_id, product_id, 1, cents=999, at_ms=at_ms)
        movement = self._movement(store_id, product_id, -1, 0, 1, at_ms=at_ms)
        self.counts.sales += 1
        self.counts.movements += 1
        return sale, movement

    def _take(self, store: int, product: int, quantity: int) -> tuple[int, int, int]:
        """(change, new quantity, sequence); a shelf too low for the sale is filled instead."""
        shelf = store // self._shares * PRODUCTS + product
        sequence = self._moves[shelf] = self._moves[shelf] + 1
        before = self._stock[shelf] if sequence > 1 else opening_stock(store, product)
        change = -quantity if before >= quantity else _DELIVERY
        self._stock[shelf] = before + change
        return change, before + change, sequence

    def _sale(
        self, store_id: str, product_id: str, quantity: int, *, cents: int, at_ms: int
    ) -> Message:
        number = self.counts.sales * self._shares + self._share
        record = {
            "transaction_id": f"{number:032x}",
            "store_id": store_id,
            "product_id": product_id,
            "quantity": quantity,
            "unit_price": Decimal(cents).scaleb(-2),
            "timestamp": at_ms,
            "customer_id": f"{number * 7919 % 1_000_003:032x}",
            "payment_method": "card",
            "line_number": 1,
            "line_amount": Decimal(cents * quantity).scaleb(-2),
        }
        if self.traffic is Traffic.FULL:
            record["event_id"] = f"s{number:035x}"
        value = self._codec.encode(Topic.SALES, record)
        return Message(Topic.SALES, store_id.encode(), value)

    def _movement(
        self, store_id: str, product_id: str, change: int, left: int, sequence: int, *, at_ms: int
    ) -> Message:
        number = self.counts.movements * self._shares + self._share
        record = {
            "inventory_id": f"m{number:031x}",
            "store_id": store_id,
            "product_id": product_id,
            "quantity_change": change,
            "new_quantity": left,
            "reason": "sale" if change < 0 else "delivery",
            "timestamp": at_ms,
            "sequence": sequence,
        }
        value = self._codec.encode(Topic.INVENTORY, record)
        return Message(Topic.INVENTORY, store_id.encode(), value)


def opening_stock(store: int, product: int) -> int:
    """What lies on a shelf before its first sale."""
    mixed = store * 7_919 + product * 104_729
    return mixed % 3 + 1 if mixed % _SCARCE_EVERY == 0 else mixed % 60 + 20


def lines_for(traffic: Traffic, events: int) -> int:
    """How many sale lines make about so many events."""
    if traffic is Traffic.SALES:
        return events
    return events * (DUPLICATE_EVERY - 1) // (2 * DUPLICATE_EVERY)


def share_of(lines: SaleLines, share: int, shares: int) -> SaleLines:
    """The lines of every `shares`-th store: so one store's events stay in order."""
    mine = lines.store % shares == share
    return SaleLines(
        *(column[mine] for column in (lines.store, lines.product, lines.quantity)),
        *(column[mine] for column in (lines.unit_cents, lines.at_ms)),
    )


def window_count(lines: SaleLines) -> int:
    """How many (store, product, 5-minute window) keys the lines have."""
    window = lines.at_ms // WINDOW_MS - int(lines.at_ms[0]) // WINDOW_MS
    return len(np.unique((window * STORES + lines.store) * PRODUCTS + lines.product))


def shelf_count(lines: SaleLines) -> int:
    """How many (store, product) pairs the lines have."""
    return len(np.unique(lines.store * PRODUCTS + lines.product))


def window_start_ms(span_ms: int, *, now_ms: int) -> int:
    """The last border of two windows at which traffic of `span_ms` must begin to be over by
    `now_ms`: so that the same lines always have equally many windows."""
    return (now_ms - span_ms) // WINDOW_MS * WINDOW_MS
