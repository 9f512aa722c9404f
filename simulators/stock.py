"""The stock book of every store: what the shelves hold, and the updates that say so."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Any, Final

from simulators.complete_journey import DAY_MS, SOURCE
from simulators.plan import Pair, ReplayInputs, StockedItem
from simulators.policy import ReplenishmentPolicy, review_weekdays, truck_minute
from tillstream.contracts.events import MovementReason
from tillstream.contracts.identity import event_uuid

_HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
# In UTC: orders are written when the last shops have closed, trucks come before they open.
REVIEW_HOUR: Final = 6
DELIVERY_HOUR: Final = 10
# Sequences of a replay start at its date times this, so that a later week counts on from an earlier
# one although each replay knows only its own.
SEQUENCES_A_START: Final = 1_000_000
_REVIEW: Final = 0
_DELIVERY: Final = 1


@dataclass(slots=True)
class _Shelf:
    store_id: str
    product_id: str
    policy: ReplenishmentPolicy
    sequence: int
    on_hand: int
    on_order: int = 0


class StockBook:
    """Stock of every item of a replay, moved forward in recorded time.

    Every method returns the inventory updates it caused, in order. Recorded stock is never
    negative. Updates carry `shift_ms`; times given and compared are the recorded ones.
    """

    def __init__(self, inputs: ReplayInputs) -> None:
        plan = inputs.plan
        self._shift_ms = plan.shift_ms
        self._start_ms = plan.start_ms
        self._first_sequence = int(f"{plan.start:%Y%m%d}") * SEQUENCES_A_START
        self._items = inputs.items
        self._shelves: dict[Pair, _Shelf] = {}
        # What sold since the last review of its store, in order of first sale; the rest cannot
        # have fallen below its level.
        self._touched: dict[int, dict[Pair, None]] = {}
        self._agenda: list[tuple[int, int, int, int, int]] = []

    def open(self) -> Iterator[dict[str, Any]]:
        """A count of every item at the start, and its first orders: a replay opens at a review."""
        for item in self._items:
            shelf = self._shelf(item)
            self._touched.setdefault(item.store_id, {})[item.store_id, item.product_id] = None
            yield self._update(shelf, item.opening_units, "count", self._start_ms)
        for store in sorted(self._touched):
            self._review(store, self._start_ms)
            self._plan_next_review(store, self._start_ms)

    def advance(self, to_ms: int) -> Iterator[dict[str, Any]]:
        """The deliveries due up to and including `to_ms`, and the silent reviews that cause later
        ones."""
        while self._agenda and self._agenda[0][0] <= to_ms:
            at_ms, kind, store, product, units = heappop(self._agenda)
            if kind == _REVIEW:
                self._review(store, at_ms)
                self._plan_next_review(store, at_ms)
                continue
            shelf = self._shelves[store, product]
            shelf.on_order -= units
            yield self._update(shelf, units, "delivery", at_ms)

    def correct(self, pair: Pair, units: int, at_ms: int) -> dict[str, Any] | None:
        """Before a sale of `units`: when the book shows fewer, they were there all the same, and
        the book is corrected to exactly what is about to be sold."""
        shelf = self._shelves.get(pair)
        if shelf is None or shelf.on_hand >= units:
            return None
        return self._update(shelf, units - shelf.on_hand, "adjustment", at_ms)

    def sell(self, pair: Pair, units: int, at_ms: int) -> dict[str, Any] | None:
        """The movement of a sale, after `correct`; None for what has no shelf stock."""
        shelf = self._shelves.get(pair)
        if shelf is None:
            return None
        self._touched.setdefault(pair[0], {})[pair] = None
        return self._update(shelf, -units, "sale", at_ms)

    def _shelf(self, item: StockedItem) -> _Shelf:
        shelf = _Shelf(
            store_id=str(item.store_id),
            product_id=str(item.product_id),
            policy=item.policy,
            sequence=self._first_sequence,
            on_hand=0,
        )
        self._shelves[item.store_id, item.product_id] = shelf
        return shelf

    def _update(
        self, shelf: _Shelf, change: int, reason: MovementReason, at_ms: int
    ) -> dict[str, Any]:
        shelf.sequence += 1
        shelf.on_hand += change
        return {
            "inventory_id": event_uuid(
                f"{SOURCE}-stock", shelf.store_id, shelf.product_id, shelf.sequence
            ),
            "store_id": shelf.store_id,
            "product_id": shelf.product_id,
            "quantity_change": change,
            "new_quantity": shelf.on_hand,
            "reason": reason,
            "timestamp": at_ms + self._shift_ms,
            "sequence": shelf.sequence,
        }

    def _review(self, store: int, at_ms: int) -> None:
        midnight = at_ms - at_ms % DAY_MS
        for pair in self._touched.pop(store, {}):
            shelf = self._shelves[pair]
            units = shelf.policy.order(shelf.on_hand + shelf.on_order)
            if not units:
                continue
            shelf.on_order += units
            due_ms = (
                midnight
                + shelf.policy.lead_time_days * DAY_MS
                + DELIVERY_HOUR * _HOUR_MS
                + truck_minute(store) * _MINUTE_MS
            )
            heappush(self._agenda, (due_ms, _DELIVERY, *pair, units))

    def _plan_next_review(self, store: int, after_ms: int) -> None:
        weekdays = review_weekdays(store)
        at_ms = after_ms - after_ms % DAY_MS + REVIEW_HOUR * _HOUR_MS
        while at_ms <= after_ms or _weekday(at_ms) not in weekdays:
            at_ms += DAY_MS
        heappush(self._agenda, (at_ms, _REVIEW, store, 0, 0))


def _weekday(at_ms: int) -> int:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).weekday()
