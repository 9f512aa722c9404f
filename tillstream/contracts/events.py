"""The events as Python sees them, held against the .avsc files by a test.

Money is Decimal with at most 4 decimals; every time is UTC milliseconds since 1970. A field marked
NotRequired has a default and may be left out of an event to publish; a decoded event has them all.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, NotRequired, TypedDict

from tillstream.contracts.topics import Topic

MovementReason = Literal[
    "sale",
    "return",
    "delivery",
    "transfer_in",
    "transfer_out",
    "count",
    "shrinkage",
    "adjustment",
]
AlertState = Literal["opened", "updated", "resolved"]


class Sale(TypedDict):
    """One line of a receipt. `quantity` is negative for a return; `line_amount` is authoritative
    for revenue."""

    transaction_id: str
    store_id: str
    product_id: str
    quantity: int
    unit_price: Decimal
    timestamp: int
    customer_id: NotRequired[str | None]
    payment_method: str
    event_id: NotRequired[str | None]
    line_number: NotRequired[int]
    line_amount: NotRequired[Decimal | None]
    discount: NotRequired[Decimal | None]
    promotion_id: NotRequired[str | None]


class InventoryUpdate(TypedDict):
    """One movement of stock; `new_quantity` is the recorded stock after it."""

    inventory_id: str
    store_id: str
    product_id: str
    quantity_change: int
    new_quantity: int
    reason: MovementReason
    timestamp: int
    sequence: NotRequired[int | None]


class PriceChange(TypedDict):
    """A shelf price that changed, from `effective_from` until `effective_to`, or until the next."""

    price_change_id: str
    store_id: str
    product_id: str
    old_price: Decimal
    new_price: Decimal
    reason: str
    effective_from: int
    effective_to: NotRequired[int | None]
    timestamp: int


class CustomerEvent(TypedDict):
    """Something a customer did that is not a sale."""

    event_id: str
    store_id: str
    customer_id: NotRequired[str | None]
    event_type: str
    product_id: NotRequired[str | None]
    timestamp: int


class RestockAlert(TypedDict):
    """One transition of a restock alert; (alert_id, version) is its identity."""

    alert_id: str
    version: int
    store_id: str
    product_id: str
    state: AlertState
    risk: float
    on_hand: int
    explanation: str
    timestamp: int


class AlertAction(TypedDict):
    """What a person did to an alert, and what they had seen when they did it."""

    action_id: str
    alert_id: str
    action: str
    actor: str
    comment: NotRequired[str | None]
    timestamp: int
    based_on: NotRequired[int | None]
    seen: NotRequired[int | None]
    until: NotRequired[int | None]
    assignee: NotRequired[str | None]
    level: NotRequired[int | None]
    undoes: NotRequired[str | None]


class QuarantinedEvent(TypedDict):
    """A record that could not be accepted, as it was received, and where."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    reason: str
    detail: str
    key: NotRequired[bytes | None]
    value: NotRequired[bytes | None]
    arrival: int


EVENT_TYPES: dict[Topic, type] = {
    Topic.SALES: Sale,
    Topic.INVENTORY: InventoryUpdate,
    Topic.PRICES: PriceChange,
    Topic.CUSTOMERS: CustomerEvent,
    Topic.ALERTS: RestockAlert,
    Topic.ALERT_ACTIONS: AlertAction,
    Topic.QUARANTINE: QuarantinedEvent,
}


def record_key(topic: Topic, record: Mapping[str, Any]) -> str:
    """The Kafka key: events that share it stay in order."""
    match topic:
        case Topic.ALERTS:
            return f"{record['store_id']}:{record['product_id']}"
        case Topic.ALERT_ACTIONS:
            return str(record["alert_id"])
        case Topic.QUARANTINE:
            return str(record["topic"])
        case _:
            return str(record["store_id"])
