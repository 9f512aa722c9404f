"""One good event of every topic."""

from decimal import Decimal
from typing import Any

from tillstream.contracts.topics import Topic

AT_MS = 1_511_136_000_000  # 2017-11-20T00:00:00Z


def sale(**changes: Any) -> dict[str, Any]:
    record = {
        "transaction_id": "31198570044",
        "store_id": "304",
        "product_id": "1095275",
        "quantity": 2,
        "unit_price": Decimal("1.99"),
        "timestamp": AT_MS,
        "customer_id": "2375",
        "payment_method": "card",
        "event_id": "6b1f1f5e-8a5a-5b1e-9c1e-2b7c5f6d7e8f",
        "line_number": 3,
        "line_amount": Decimal("3.58"),
        "discount": Decimal("0.40"),
        "promotion_id": None,
    }
    return record | changes


def old_sale(**changes: Any) -> dict[str, Any]:
    """As a till of the first generation knows it (schema v1)."""
    added = ("event_id", "line_number", "line_amount", "discount", "promotion_id")
    return {name: value for name, value in sale().items() if name not in added} | changes


def update(**changes: Any) -> dict[str, Any]:
    record = {
        "inventory_id": "304:1095275:7",
        "store_id": "304",
        "product_id": "1095275",
        "quantity_change": -2,
        "new_quantity": 14,
        "reason": "sale",
        "timestamp": AT_MS,
        "sequence": 7,
    }
    return record | changes


def quarantined(**changes: Any) -> dict[str, Any]:
    record = {
        "topic": "retail-sales-transactions",
        "topic_id": "c8164ff5-7aa7-44aa-9a2c-521d5e0f8b1b",
        "partition": 1,
        "offset": 42,
        "reason": "undecodable",
        "detail": "wrong magic byte",
        "key": None,
        "value": b"\x01abc",
        "arrival": AT_MS,
    }
    return record | changes


EVENTS: dict[Topic, dict[str, Any]] = {
    Topic.SALES: sale(),
    Topic.INVENTORY: update(),
    Topic.PRICES: {
        "price_change_id": "pc-1",
        "store_id": "304",
        "product_id": "1095275",
        "old_price": Decimal("1.99"),
        "new_price": Decimal("1.49"),
        "reason": "promotion",
        "effective_from": AT_MS,
        "effective_to": None,
        "timestamp": AT_MS,
    },
    Topic.CUSTOMERS: {
        "event_id": "ce-1",
        "store_id": "304",
        "customer_id": None,
        "event_type": "visit",
        "product_id": None,
        "timestamp": AT_MS,
    },
    Topic.ALERTS: {
        "alert_id": "al-1",
        "version": 2,
        "store_id": "304",
        "product_id": "1095275",
        "state": "opened",
        "risk": 0.75,
        "on_hand": 3,
        "explanation": "3 on hand, 5 expected before a delivery can arrive.",
        "timestamp": AT_MS,
    },
    Topic.ALERT_ACTIONS: {
        "action_id": "aa-1",
        "alert_id": "al-1",
        "action": "acknowledge",
        "actor": "kim",
        "comment": None,
        "timestamp": AT_MS,
        "based_on": 2,
        "seen": 3,
        "until": None,
        "assignee": None,
        "level": None,
        "undoes": None,
    },
    Topic.QUARANTINE: quarantined(),
}
