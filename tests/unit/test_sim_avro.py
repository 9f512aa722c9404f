"""Many events to Avro at once, against the codec that does one at a time."""

from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulators.world.avro import Column, Number, Text, chosen, digits, encode, hexadecimal
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import Topic

CATALOGUE = load_catalogue()
CODEC = Codec(CATALOGUE)
LONG = st.integers(-(2**62), 2**62)


def text(values: list[str | None]) -> Text:
    width = max((len(value or "") for value in values), default=0) or 1
    chars = np.zeros((len(values), width), dtype=np.uint8)
    for row, value in enumerate(values):
        chars[row, : len(value or "")] = np.frombuffer((value or "").encode(), dtype=np.uint8)
    lengths = np.array([len(value or "") for value in values], dtype=np.int64)
    return Text(chars, lengths, np.array([value is not None for value in values]))


def number(values: list[int | None]) -> Number:
    given_ = np.array([value is not None for value in values])
    return Number(np.array([value or 0 for value in values], dtype=np.int64), given_)


def _money(ten_thousandths: int) -> Decimal:
    return Decimal(ten_thousandths).scaleb(-4)


@given(
    st.lists(
        st.tuples(
            st.text("abcXYZ09-", min_size=1, max_size=40),
            st.integers(-(2**31), 2**31 - 1),
            st.integers(0, 10**17),
            st.integers(0, 4_000_000_000_000),
            st.one_of(st.none(), st.text("abc09-", min_size=1, max_size=36)),
            st.one_of(st.none(), st.integers(-(10**17), 10**17)),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_sales_are_the_bytes_of_the_codec(rows: list[tuple[Any, ...]]) -> None:
    tickets, quantity, price, at_ms, identity, paid = (
        list(column) for column in zip(*rows, strict=True)
    )
    columns: dict[str, Column] = {
        "transaction_id": text(tickets),
        "store_id": text(tickets),
        "product_id": text(tickets),
        "quantity": number(quantity),
        "unit_price": number(price),
        "timestamp": number(at_ms),
        "payment_method": chosen(["card", "voucher"], np.array(quantity) % 2),
        "event_id": text(identity),
        "line_amount": number(paid),
    }
    made = encode(CATALOGUE.latest(Topic.SALES), columns, len(rows))
    for row, value in enumerate(made):
        assert value == CODEC.encode(
            Topic.SALES,
            {
                "transaction_id": tickets[row],
                "store_id": tickets[row],
                "product_id": tickets[row],
                "quantity": quantity[row],
                "unit_price": _money(price[row]),
                "timestamp": at_ms[row],
                "payment_method": ["card", "voucher"][quantity[row] % 2],
                "event_id": identity[row],
                "line_amount": None if paid[row] is None else _money(paid[row]),
            },
        )


@given(st.lists(st.tuples(st.integers(0, 7), LONG), min_size=1, max_size=30))
def test_enums_and_long_numbers_are_the_bytes_of_the_codec(rows: list[tuple[int, int]]) -> None:
    ref = CATALOGUE.latest(Topic.INVENTORY)
    (symbols,) = (f["type"]["symbols"] for f in ref.schema["fields"] if f["name"] == "reason")
    names: list[str | None] = ["x"] * len(rows)
    columns: dict[str, Column] = {
        "inventory_id": text(names),
        "store_id": text(names),
        "product_id": text(names),
        "quantity_change": number([-1] * len(rows)),
        "new_quantity": number([0] * len(rows)),
        "reason": number([reason for reason, _ in rows]),
        "timestamp": number([5] * len(rows)),
        "sequence": number([sequence for _, sequence in rows]),
    }
    for (reason, sequence), value in zip(rows, encode(ref, columns, len(rows)), strict=True):
        assert CODEC.decode(Topic.INVENTORY, value).record == {
            "inventory_id": "x",
            "store_id": "x",
            "product_id": "x",
            "quantity_change": -1,
            "new_quantity": 0,
            "reason": symbols[reason],
            "timestamp": 5,
            "sequence": sequence,
        }


def test_numbers_are_written_at_a_fixed_width() -> None:
    assert digits(np.array([7, 1234]), 4).tobytes() == b"00071234"
    assert hexadecimal(np.array([255, 4096]), 4).tobytes() == b"00ff1000"
