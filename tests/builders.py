"""Records as they arrive: valid, decoded, and poisonous."""

import hashlib
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa

from streaming.batch import with_topic_ids
from streaming.schemas import DECODED
from tests.contracts_suite.events import AT_MS, EVENTS, old_sale
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import SOURCE_TOPICS, Topic

CODEC = Codec(load_catalogue())
AT = datetime.fromtimestamp(AT_MS / 1000, tz=UTC)
HEADER_BYTES = 5

# The UUIDs of the source topics, as Kafka would give them.
TOPIC_IDS: dict[str, UUID] = {
    topic.value: UUID(int=number) for number, topic in enumerate(SOURCE_TOPICS, start=1)
}
SALES_ID = str(TOPIC_IDS[Topic.SALES])
INVENTORY_ID = str(TOPIC_IDS[Topic.INVENTORY])


def good_value(topic: Topic = Topic.SALES, *, version: int | None = None, **changes: Any) -> bytes:
    """A valid event as it travels."""
    base = old_sale() if (topic, version) == (Topic.SALES, 1) else EVENTS[topic]
    record = {**base, **changes}
    if topic is Topic.INVENTORY and version == 1:
        record.pop("sequence")
    return CODEC.encode(topic, record, version=version)


def zigzag(number: int) -> bytes:
    """A number as Avro writes it."""
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def text_bytes(text: bytes) -> bytes:
    return zigzag(len(text)) + text


def spliced(value: bytes, old: bytes, new: bytes) -> bytes:
    """`value` with its one `old` replaced."""
    assert value.count(old) == 1, f"{old!r} is there {value.count(old)} times"
    return value.replace(old, new)


def with_schema_id(value: bytes, schema_id: int) -> bytes:
    return struct.pack(">bI", 0, schema_id) + value[HEADER_BYTES:]


def at_ms(value: bytes, timestamp_ms: int) -> bytes:
    """An event of the usual time, moved to any time, however impossible."""
    return spliced(value, zigzag(AT_MS), zigzag(timestamp_ms))


def nan_price() -> bytes:
    """A sale whose unit price holds the bits of a float's NaN."""
    eight = (10**17 + 1).to_bytes(8, "big", signed=True)
    value = good_value(unit_price=Decimal(10**17 + 1).scaleb(-4))
    return spliced(value, eight, struct.pack(">d", float("nan")))


def record(
    offset: int,
    value: bytes | None,
    *,
    topic: Topic = Topic.SALES,
    key: bytes | None = b"304",
    partition: int = 0,
    arrival: datetime = AT,
) -> dict[str, Any]:
    """A Kafka record, in the columns of Spark's source."""
    return {
        "topic": topic.value,
        "partition": partition,
        "offset": offset,
        "timestamp": arrival,
        "key": key,
        "value": value,
    }


KAFKA_COLUMNS = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)


def decoded(*rows: Mapping[str, Any]) -> pa.Table:
    """A decoded batch."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=DECODED)


def judged(*rows: Mapping[str, Any], ids: Mapping[str, UUID] = TOPIC_IDS) -> pa.Table:
    """A decoded batch with the topics' UUIDs, as `Batch.of` takes it."""
    return with_topic_ids(decoded(*rows), ids)


def _row(topic: Topic, offset: int, identity: str, **values: Any) -> dict[str, Any]:
    row = {
        "topic": topic.value,
        "partition": 0,
        "offset": offset,
        "arrival": AT + timedelta(milliseconds=offset),
        "key": b"304",
        "value": f"{topic}-{offset}".encode(),
        "schema_id": 2,
        "identity": identity,
        "store_id": "304",
        "product_id": "1095275",
        "event_time": AT,
    } | values
    store_and_identity = f"{row['topic']}|{row['store_id']}|{identity}".encode()
    row.setdefault("event_key", hashlib.md5(store_and_identity).digest())
    start_s = int(row["event_time"].timestamp()) // 300 * 300
    row.setdefault("window_start", datetime.fromtimestamp(start_s, tz=UTC))
    return row


def sold(offset: int, identity: str | None = None, **values: Any) -> dict[str, Any]:
    """A decoded sale line of 2 units for 3.58."""
    name = identity or f"sale-{values.get('partition', 0)}-{offset}"
    line = {
        "quantity": 2,
        "revenue": Decimal("3.5800"),
        "unit_price": Decimal("1.9900"),
        "discount": Decimal("0.4000"),
        "transaction_id": f"t-{offset}",
        "line_number": 1,
        "payment_method": "card",
    }
    return _row(Topic.SALES, offset, name, **{**line, **values})


def moved(offset: int, identity: str | None = None, **values: Any) -> dict[str, Any]:
    """A decoded stock movement that leaves 14."""
    movement = {"quantity": -2, "quantity_on_hand": 14, "kind": "sale", "sequence": offset + 1}
    name = identity or f"move-{values.get('partition', 0)}-{offset}"
    return _row(Topic.INVENTORY, offset, name, **{"schema_id": 4, **movement, **values})


def repriced(offset: int, **values: Any) -> dict[str, Any]:
    change = {
        "old_price": Decimal("1.9900"),
        "new_price": Decimal("1.4900"),
        "kind": "promotion",
        "effective_from": AT,
        "schema_id": 5,
    }
    return _row(Topic.PRICES, offset, f"price-{offset}", **{**change, **values})


def visited(offset: int, **values: Any) -> dict[str, Any]:
    visit = {"kind": "visit", "product_id": None, "schema_id": 6}
    return _row(Topic.CUSTOMERS, offset, f"visit-{offset}", **{**visit, **values})


def refused(offset: int, topic: Topic = Topic.SALES, **values: Any) -> dict[str, Any]:
    """A record that could not be accepted: coordinates, reason and detail only."""
    return {
        "topic": topic.value,
        "partition": 0,
        "offset": offset,
        "arrival": AT + timedelta(milliseconds=offset),
        "key": None,
        "value": b"\x01poison",
        "reason": "bad_magic_byte",
        "detail": "the first byte is 0x01, not 0x00",
        **values,
    }
