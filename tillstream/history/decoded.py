"""A simulated chain's events as the stream has them once they are decoded."""

from collections.abc import Mapping
from hashlib import md5

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from simulators.world.avro import Text, chosen
from simulators.world.baskets import PAYMENTS
from simulators.world.columns import (
    CUSTOMER_EVENTS,
    PRICE_REASONS,
    REASONS,
    SlotEvents,
    numbered,
)
from simulators.world.messages import Messages, Writer, product_ids, promotions, store_ids
from streaming.money import from_units
from streaming.schemas import DECODED, TIME
from tillstream.contracts.catalogue import Catalogue
from tillstream.contracts.topics import SOURCE_TOPICS, Topic

Ints = npt.NDArray[np.int64]
Chars = npt.NDArray[np.uint8]

_WINDOW_MS = 300_000
_CENT = 100


def decoded(writer: Writer, events: SlotEvents) -> dict[Topic, pa.Table]:
    """Rows of DECODED by topic, without coordinates (partition and offset are null), each as it
    arrives: at the moment it happened. The `value` is what the store would have sent."""
    return {
        Topic.SALES: _sales(writer, events),
        Topic.INVENTORY: _moves(writer, events),
        Topic.PRICES: _prices(writer, events),
        Topic.CUSTOMERS: _customers(writer, events),
    }


def _sales(writer: Writer, events: SlotEvents) -> pa.Table:
    sales = events.sales
    messages = writer.sales(sales, numbered(sales), stamps=sales.at_ms)
    fields = {
        "transaction_id": writer.tickets(sales),
        "customer_id": writer.customer_ids(sales.store, sales.customer),
        "payment_method": chosen(PAYMENTS, sales.payment),
        "promotion_id": promotions(sales),
    }
    off = sales.regular_cents - sales.paid_cents
    return _table(
        writer.catalogue,
        messages,
        {
            "product_id": texts(product_ids(sales.product)),
            "window_start": times(sales.at_ms // _WINDOW_MS * _WINDOW_MS),
            "quantity": sales.units,
            "revenue": from_units(sales.paid_cents * _CENT * sales.units),
            "unit_price": from_units(sales.regular_cents * _CENT),
            "discount": from_units(off * _CENT * sales.units),
            "line_number": sales.line,
            **{name: _text(column) for name, column in fields.items()},
        },
    )


def _moves(writer: Writer, events: SlotEvents) -> pa.Table:
    moves = events.moves
    return _table(
        writer.catalogue,
        writer.moves(moves, numbered(moves)),
        {
            "product_id": texts(product_ids(moves.product)),
            "quantity": moves.change,
            "quantity_on_hand": moves.recorded,
            "kind": _text(chosen(REASONS, moves.reason)),
            "sequence": writer.sequence(moves.sequence),
        },
    )


def _prices(writer: Writer, events: SlotEvents) -> pa.Table:
    prices = events.prices
    return _table(
        writer.catalogue,
        writer.prices(prices, numbered(prices)),
        {
            "product_id": texts(product_ids(prices.product)),
            "old_price": from_units(prices.old_cents * _CENT),
            "new_price": from_units(prices.new_cents * _CENT),
            "kind": _text(chosen(PRICE_REASONS, prices.reason)),
            "effective_from": times(prices.at_ms),
            "effective_to": times(prices.until_ms, given=prices.until_ms >= 0),
        },
    )


def _customers(writer: Writer, events: SlotEvents) -> pa.Table:
    visits = events.customers
    known = visits.product >= 0
    return _table(
        writer.catalogue,
        writer.customers(visits, numbered(visits)),
        {
            "product_id": texts(product_ids(np.maximum(visits.product, 0)), given=known),
            "customer_id": _text(writer.customer_ids(visits.store, visits.customer)),
            "kind": _text(chosen(CUSTOMER_EVENTS, visits.kind)),
        },
    )


def _table(catalogue: Catalogue, messages: Messages, fields: Mapping[str, object]) -> pa.Table:
    count = len(messages)
    topic = SOURCE_TOPICS[int(messages.topic[0])] if count else SOURCE_TOPICS[0]
    columns: dict[str, object] = {
        "topic": pa.repeat(pa.scalar(topic.value), count),
        "arrival": times(messages.at_ms),
        "key": texts(store_ids(messages.store)).cast(pa.binary()),
        "value": pa.array(messages.value, pa.binary()),
        "schema_id": np.full(count, catalogue.latest(topic).id),
        "event_key": pa.array(_event_keys(topic, messages), pa.binary()),
        "identity": pa.array(messages.identity, pa.binary()).cast(pa.string()),
        "store_id": texts(store_ids(messages.store)),
        "event_time": times(messages.at_ms),
        **fields,
    }
    arrays = []
    for field in DECODED:
        column = columns.get(field.name)
        if column is None:
            arrays.append(pa.nulls(count, field.type))
        elif isinstance(column, pa.Array):
            arrays.append(column.cast(field.type))
        else:
            arrays.append(pa.array(column, field.type))
    return pa.table(arrays, schema=DECODED)


def _event_keys(topic: Topic, messages: Messages) -> list[bytes]:
    """As `streaming.decode` makes them."""
    heads: dict[int, bytes] = {}
    for number in np.unique(messages.store).tolist():
        store = store_ids(np.array([number])).tobytes()
        heads[number] = b"|".join((topic.value.encode(), str(len(store)).encode(), store, b""))
    rows = zip(messages.store.tolist(), messages.identity.tolist(), strict=True)
    return [
        md5(heads[store] + identity, usedforsecurity=False).digest() for store, identity in rows
    ]


def times(at_ms: Ints, *, given: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    mask = None if given is None else ~given
    return pa.array(at_ms * 1000, pa.int64(), mask=mask).cast(TIME)


def _text(column: Text) -> pa.Array:
    return texts(column.chars, column.length, column.given)


def texts(
    chars: Chars, length: Ints | None = None, given: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """Strings from rows of characters."""
    rows, width = chars.shape
    if length is None:
        data, ends = chars, np.arange(1, rows + 1) * width
    else:
        kept = np.arange(width) < length[:, None]
        data, ends = chars[kept], np.cumsum(length)
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    array = pa.Array.from_buffers(
        pa.string(),
        rows,
        [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data).tobytes())],
    )
    if given is None:
        return array
    return pc.if_else(pa.array(given), array, pa.scalar(None, pa.string()))
