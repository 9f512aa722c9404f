"""Events as columns: one array a field, one row an event."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
T = TypeVar("T", bound="Columns")

REASONS = (
    *("sale", "return", "delivery", "transfer_in", "transfer_out", "count", "shrinkage"),
    "adjustment",
)
PRICE_REASONS = ("regular", "promotion", "markdown")
CUSTOMER_EVENTS = ("store_visit", "app_search", "coupon_clipped", "signup")


class Columns:
    """Dataclasses of equally long integer arrays."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | Ints) -> Self:
        return type(self)(*(getattr(self, one.name)[rows] for one in fields(self)))  # type: ignore[arg-type]

    @classmethod
    def empty(cls) -> Self:
        nothing = np.empty(0, dtype=np.int64)
        return cls(*(nothing for _ in fields(cls)))  # type: ignore[arg-type]


def joined(parts: Sequence[T], kind: type[T]) -> T:
    """All rows of `parts`, in order."""
    if not parts:
        return kind.empty()
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    return kind(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True)
class Sales(Columns):
    """`regular_cents` and `paid_cents` are of one unit; negative units are a return. `basket` is
    numbered within store and slot; `promoted` is 1 for a price below the regular one."""

    at_ms: Ints
    store: Ints
    product: Ints
    units: Ints
    regular_cents: Ints
    paid_cents: Ints
    basket: Ints
    line: Ints
    customer: Ints
    till: Ints
    payment: Ints
    week: Ints


@dataclass(frozen=True, slots=True)
class Moves(Columns):
    """`reason` is an index of REASONS; `sequence` counts from 1 in a run."""

    at_ms: Ints
    store: Ints
    product: Ints
    change: Ints
    recorded: Ints
    reason: Ints
    sequence: Ints


@dataclass(frozen=True, slots=True)
class PriceChanges(Columns):
    """`until_ms` is -1 for a price that stays."""

    at_ms: Ints
    store: Ints
    product: Ints
    old_cents: Ints
    new_cents: Ints
    reason: Ints
    until_ms: Ints


@dataclass(frozen=True, slots=True)
class CustomerEvents(Columns):
    """`product` is -1 where none is meant."""

    at_ms: Ints
    store: Ints
    customer: Ints
    kind: Ints
    product: Ints


@dataclass(frozen=True, slots=True)
class DemandTruth(Columns):
    """Units of one product in one slot: `wanted` at first choice, `sold` (substitutes included),
    `unmet` of all that was asked for, and `moved_on`: unmet, and asked for as something else."""

    at_ms: Ints
    store: Ints
    product: Ints
    wanted: Ints
    sold: Ints
    unmet: Ints
    moved_on: Ints


@dataclass(frozen=True, slots=True)
class ShelfTruth(Columns):
    """A shelf that became empty (1), or stopped being so (0)."""

    at_ms: Ints
    store: Ints
    product: Ints
    is_empty: Ints


@dataclass(frozen=True, slots=True)
class ErrorTruth(Columns):
    """By how many units a shelf holds more than its books say (`error`, may be negative), from
    `at_ms` on: at its first movement, and whenever that changes."""

    at_ms: Ints
    store: Ints
    product: Ints
    error: Ints


@dataclass(frozen=True, slots=True)
class Orders(Columns):
    """Goods on their way to `store`, as the chain's order book has them: `units` ordered, when they
    were promised for (a truck after the supplier's usual lead time), and when they were received,
    which nobody knows before. `is_transfer` is 1 for goods that a neighbour sent."""

    ordered_at_ms: Ints
    store: Ints
    product: Ints
    units: Ints
    expected_at_ms: Ints
    received_at_ms: Ints
    is_transfer: Ints


@dataclass(frozen=True, slots=True)
class SlotEvents:
    """All that happened in one or more slots."""

    sales: Sales
    moves: Moves
    prices: PriceChanges
    customers: CustomerEvents
    demand: DemandTruth
    shelves: ShelfTruth
    errors: ErrorTruth
    orders: Orders

    @property
    def count(self) -> int:
        """Events for Kafka."""
        return len(self.sales) + len(self.moves) + len(self.prices) + len(self.customers)


def numbered(columns: Sales | Moves | PriceChanges | CustomerEvents) -> Ints:
    """The number of each row within its store; the rows of a store stand together."""
    store = columns.store
    row = np.arange(len(store))
    first = np.ones(len(store), dtype=bool)
    first[1:] = store[1:] != store[:-1]
    return row - np.maximum.accumulate(np.where(first, row, 0)) if len(row) else row
