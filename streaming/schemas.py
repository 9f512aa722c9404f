"""The columns that pass between the stages of the stream."""

from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from tillstream.contracts.topics import Topic

MONEY = pa.decimal128(18, 4)
TIME = pa.timestamp("us", tz="UTC")

# One row for every Kafka record, whatever its topic: common columns first, then those of one kind.
# `reason` is null for an accepted event. Of a refused one count only coordinates, bytes, reason and
# detail: it has no texts, and its numbers are what its bytes seemed to say.
DECODED = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("arrival", TIME),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("schema_id", pa.int32()),
        ("event_key", pa.binary()),
        ("identity", pa.string()),
        ("store_id", pa.string()),
        ("product_id", pa.string()),
        ("event_time", TIME),
        ("window_start", TIME),
        ("quantity", pa.int32()),
        ("revenue", MONEY),
        ("unit_price", MONEY),
        ("discount", MONEY),
        ("transaction_id", pa.string()),
        ("line_number", pa.int32()),
        ("promotion_id", pa.string()),
        ("payment_method", pa.string()),
        ("customer_id", pa.string()),
        ("quantity_on_hand", pa.int32()),
        ("kind", pa.string()),
        ("sequence", pa.int64()),
        ("old_price", MONEY),
        ("new_price", MONEY),
        ("effective_from", TIME),
        ("effective_to", TIME),
    ]
)

# Which columns of DECODED a fact table takes, under the table's own names.
FACTS: dict[Topic, tuple[str, dict[str, str]]] = {
    Topic.SALES: (
        "fact_sales",
        {
            "sale_id": "identity",
            "date_key": "date_key",
            "quantity": "quantity",
            "revenue": "revenue",
            "cost": "cost",
            "profit": "profit",
            "store_id": "store_id",
            "product_id": "product_id",
            "transaction_id": "transaction_id",
            "line_number": "line_number",
            "unit_price": "unit_price",
            "discount": "discount",
            "promotion_id": "promotion_id",
            "customer_id": "customer_id",
            "payment_method": "payment_method",
            "window_start": "window_start",
        },
    ),
    Topic.INVENTORY: (
        "fact_inventory",
        {
            "inventory_id": "identity",
            "date_key": "date_key",
            "quantity_on_hand": "quantity_on_hand",
            "quantity_change": "quantity",
            "reason": "kind",
            "sequence": "sequence",
            "store_id": "store_id",
            "product_id": "product_id",
        },
    ),
    Topic.PRICES: (
        "price_changes",
        {
            "price_change_id": "identity",
            "date_key": "date_key",
            "store_id": "store_id",
            "product_id": "product_id",
            "old_price": "old_price",
            "new_price": "new_price",
            "reason": "kind",
            "effective_from": "effective_from",
            "effective_to": "effective_to",
        },
    ),
    Topic.CUSTOMERS: (
        "customer_events",
        {
            "event_id": "identity",
            "date_key": "date_key",
            "store_id": "store_id",
            "product_id": "product_id",
            "customer_id": "customer_id",
            "event_type": "kind",
        },
    ),
}

# Every fact table ends in these.
TRACE = {
    "event_time": "event_time",
    "arrival": "arrival",
    "schema_id": "schema_id",
    "event_key": "event_key",
    "topic_id": "topic_id",
    "partition": "partition",
    "offset": "offset",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What makes a decoded event impossible. Lateness is never a reason."""

    max_future_s: int = 300
    oldest_event: datetime = field(
        default_factory=lambda: datetime.fromisoformat("2000-01-01T00:00:00+00:00")
    )
    max_id_chars: int = 256
    max_quantity: int = 10_000_000
    max_amount: int = 1_000_000_000
