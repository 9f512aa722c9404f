"""The events of one producer, each a pure function of its number: a producer that died sends the
same ones again, and everybody else can tell which they were."""

import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tillstream.contracts.codec import Codec
from tillstream.contracts.identity import event_identity
from tillstream.contracts.topics import Topic

STORES, PRODUCTS = 20, 200
_PER_100_000_POISON, _PER_100_000_DUPLICATE, _PER_100_000_LATE = 50, 500, 100
_DUPLICATE_REACH = 5_000
_LATEST_MS = 5 * 86_400_000
_HOUR_MS = 3_600_000
_YEAR_1999_MS = 930_000_000_000
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Event:
    """One that should count, or be found to be a duplicate."""

    topic: Topic
    record: dict[str, Any]
    identity: str


@dataclass(frozen=True, slots=True)
class Poison:
    """Bytes that must end in quarantine."""

    topic: Topic
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class EventSource:
    """The events of producer number `producer`, `per_s` a second from `epoch_ms` on; sales and
    inventory updates take turns."""

    seed: int
    producer: int
    epoch_ms: int
    per_s: float
    codec: Codec

    def slot(self, number: int) -> Event | Poison:
        """What is sent as number `number`: now and then an older event again (with other figures,
        so that it shows which of them counts), a late one, or poison."""
        bits = _mixed(self.seed, self.producer, number)
        share = bits % 100_000
        if share < _PER_100_000_POISON:
            return self._poison(number, bits >> 17)
        share -= _PER_100_000_POISON
        if share < _PER_100_000_DUPLICATE:
            back = 2 * (1 + (bits >> 17) % (_DUPLICATE_REACH // 2))
            if number >= back:
                return self._event(number - back, again=1)
        share -= _PER_100_000_DUPLICATE
        if 0 <= share < _PER_100_000_LATE:
            return self._event(number, late_ms=(bits >> 17) % _LATEST_MS)
        return self._event(number)

    def due(self, now_ms: int) -> int:
        """How many events should have been sent by now."""
        return max(0, int((now_ms - self.epoch_ms) * self.per_s / 1000))

    def _event(self, number: int, *, late_ms: int = 0, again: int = 0) -> Event:
        bits = _mixed(self.seed, self.producer, ~number)
        name = f"{self.seed}-{self.producer}-{number}"
        record: dict[str, Any] = {
            "store_id": f"P{self.producer}S{bits % STORES:02}",
            "product_id": f"product-{(bits >> 8) % PRODUCTS:03}",
            "timestamp": self.epoch_ms + int(number * 1000 / self.per_s) - late_ms,
        }
        if number % 2:
            on_hand = 300 + (bits >> 20) % 700
            record |= {
                "inventory_id": name,
                "quantity_change": 1 - (bits >> 30) % 3,
                "new_quantity": on_hand + again,
                "reason": "adjustment",
                "sequence": number - (late_ms // 1000),
            }
            return Event(Topic.INVENTORY, record, name)
        quantity = (bits >> 20) % 6 - 1 + again
        price = Decimal(99 + (bits >> 30) % 900).scaleb(-2)
        record |= {
            "transaction_id": name,
            "quantity": quantity,
            "unit_price": price,
            "payment_method": "card",
            "line_number": 1,
        }
        if number % 3:
            # What was paid, a cent off what unit price and quantity say.
            record |= {"event_id": f"e{name}", "line_amount": quantity * price - Decimal("0.01")}
        return Event(Topic.SALES, record, event_identity(Topic.SALES, record))

    def _poison(self, number: int, bits: int) -> Poison:
        event = self._event(number)
        record, key = event.record, event.record["store_id"].encode()
        good = self.codec.encode(event.topic, record)
        quantity = "new_quantity" if event.topic is Topic.INVENTORY else "quantity"

        def changed(**fields: Any) -> bytes:
            return self.codec.encode(event.topic, record | fields)

        kinds = (
            (key, b"not an event at all"),
            (key, b""),
            (key, good[:12]),
            (key, struct.pack(">bI", 0, 4_000_000) + good[5:]),
            (b"  ", good),
            (b"another store", good),
            (key, changed(**{quantity: 20_000_000})),
            (key, changed(timestamp=record["timestamp"] + 24 * _HOUR_MS)),
            (key, changed(timestamp=_YEAR_1999_MS)),
        )
        return Poison(event.topic, *kinds[bits % len(kinds)])


def _mixed(seed: int, producer: int, number: int) -> int:
    """64 bits that look random (splitmix64)."""
    x = (
        seed * 0x9E3779B97F4A7C15 + producer * 0xD1B54A32D192ED03 + number * 0x8CB92BA72F3D8DD7
    ) & _MASK
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)
