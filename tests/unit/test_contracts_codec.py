"""Bytes on the wire: exact both ways, and precise about what is wrong."""

import io
import struct
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts_suite.events import AT_MS, EVENTS, old_sale, quarantined, sale, update
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import MAX_ID_CHARS, Codec, FieldError
from tillstream.contracts.topics import Topic
from tillstream.errors import ContractError

CATALOGUE = load_catalogue()
CODEC = Codec(CATALOGUE)
MONEY = st.decimals(
    min_value=Decimal("-99999999999999.9999"),
    max_value=Decimal("99999999999999.9999"),
    places=4,
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=MAX_ID_CHARS).filter(
    lambda text: not text.isspace()
)


@pytest.mark.parametrize("topic", list(Topic))
def test_an_event_comes_back_as_it_went(topic: Topic) -> None:
    decoded = CODEC.decode(topic, CODEC.encode(topic, EVENTS[topic]))
    assert decoded.record == EVENTS[topic]
    assert decoded.schema == CATALOGUE.latest(topic)


def test_the_wire_format_is_confluents() -> None:
    payload = CODEC.encode(Topic.SALES, sale())
    plain = io.BytesIO()
    schemaless_writer(plain, parse_schema(CATALOGUE.latest(Topic.SALES).schema), sale())
    assert payload[:5] == b"\x00" + struct.pack(">I", 2)
    assert payload[5:] == plain.getvalue()


@given(
    name=NAMES,
    price=MONEY,
    amount=st.none() | MONEY,
    quantity=st.integers(-(2**31), 2**31 - 1),
    at_ms=st.integers(-62_135_596_800_000, 253_402_300_799_999),
)
def test_every_value_in_range_survives_exactly(
    name: str, price: Decimal, amount: Decimal | None, quantity: int, at_ms: int
) -> None:
    event = sale(
        transaction_id=name,
        unit_price=price,
        line_amount=amount,
        quantity=quantity,
        timestamp=at_ms,
    )
    assert CODEC.decode(Topic.SALES, CODEC.encode(Topic.SALES, event)).record == event


@given(st.sampled_from(list(CATALOGUE)), st.binary(max_size=80))
def test_no_bytes_raise_anything_but_a_contract_error(schema: Any, tail: bytes) -> None:
    payload = struct.pack(">bI", 0, schema.id) + tail
    try:
        record = CODEC.decode(schema.topic, payload).record
    except ContractError:
        return
    assert set(record) == {
        field["name"] for field in CATALOGUE.latest(schema.topic).schema["fields"]
    }


def test_old_and_new_tills_decode_together() -> None:
    first = CODEC.decode(Topic.SALES, CODEC.encode(Topic.SALES, old_sale(), version=1))
    second = CODEC.decode(Topic.SALES, CODEC.encode(Topic.SALES, sale()))
    assert (first.schema.version, second.schema.version) == (1, 2)
    assert first.record == sale(
        event_id=None, line_number=0, line_amount=None, discount=None, promotion_id=None
    )
    assert second.record == sale()


def test_fields_with_a_default_may_be_left_out() -> None:
    event = {k: v for k, v in sale().items() if k not in ("promotion_id", "line_number")}
    decoded = CODEC.decode(Topic.SALES, CODEC.encode(Topic.SALES, event)).record
    assert (decoded["promotion_id"], decoded["line_number"]) == (None, 0)


def test_a_datetime_of_any_zone_is_stored_as_utc_milliseconds() -> None:
    at = datetime(2017, 11, 20, 3, 0, 0, 1_999, tzinfo=timezone(timedelta(hours=3)))
    decoded = CODEC.decode(Topic.SALES, CODEC.encode(Topic.SALES, sale(timestamp=at)))
    assert decoded.record["timestamp"] == AT_MS + 1


def test_the_callers_decimal_context_changes_nothing() -> None:
    with localcontext(prec=3):
        payload = CODEC.encode(Topic.SALES, sale(unit_price=Decimal("12345.6789")))
        decoded = CODEC.decode(Topic.SALES, payload).record
    assert decoded["unit_price"] == Decimal("12345.6789")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            sale(unit_price=Decimal("NaN")),
            "field 'unit_price' is Decimal('NaN'); allowed: a finite",
        ),
        (sale(unit_price=Decimal("sNaN")), "field 'unit_price' is Decimal('sNaN')"),
        (sale(line_amount=Decimal("-Infinity")), "field 'line_amount' is Decimal('-Infinity')"),
        (sale(unit_price=Decimal("1.00001")), "at most 4 decimals and 18 digits"),
        (sale(unit_price=Decimal("1." + "0" * 40 + "1")), "at most 4 decimals and 18 digits"),
        (sale(unit_price=Decimal("1E+14")), "field 'unit_price' is Decimal('1E+14')"),
        (sale(unit_price=Decimal("1E+999999")), "field 'unit_price'"),
        (sale(unit_price=1.99), "field 'unit_price' is 1.99; allowed: a finite Decimal"),
        (sale(unit_price=None), "field 'unit_price' is None"),
        (
            sale(quantity=2**31),
            "field 'quantity' is 2147483648; allowed: a whole number from -2147",
        ),
        (sale(quantity=-(2**31) - 1), "field 'quantity' is -2147483649"),
        (sale(quantity=1.0), "field 'quantity' is 1.0"),
        (sale(quantity=True), "field 'quantity' is True"),
        (sale(store_id=""), "field 'store_id' is ''; allowed: an identifier that is not blank"),
        (sale(product_id=" \t"), "field 'product_id' is ' \\t'"),
        (sale(store_id=None), "field 'store_id' is None; allowed: a string"),
        (sale(store_id=304), "field 'store_id' is 304; allowed: a string"),
        (sale(product_id="x" * 257), "at most 256 characters (this has 257)"),
        (sale(payment_method="x" * 257), "field 'payment_method'"),
        (sale(store_id="\ud800"), "allowed: text that UTF-8 can hold"),
        (sale(timestamp="2017-11-20"), "field 'timestamp' is '2017-11-20'; allowed: UTC milli"),
        (sale(timestamp=datetime(2017, 11, 20)), "a datetime with a time zone"),  # noqa: DTZ001
        (sale(timestamp=1.5e12), "field 'timestamp' is 1500000000000.0"),
        (sale(timestamp=2**62), "field 'timestamp' is 4611686018427387904"),
        (sale(colour="red"), "field 'colour' is unknown; allowed: transaction_id, store_id"),
        ({k: v for k, v in sale().items() if k != "quantity"}, "field 'quantity' is missing"),
        ({}, "field 'transaction_id' is missing and has no default"),
    ],
)
def test_a_bad_sale_is_refused_by_field_value_and_rule(event: dict[str, Any], said: str) -> None:
    with pytest.raises(FieldError) as caught:
        CODEC.encode(Topic.SALES, event)
    assert str(caught.value).startswith("retail-sales-transactions: field ")
    assert said in str(caught.value)
    assert f"field {caught.value.field!r}" in str(caught.value)


def test_other_types_are_checked_too() -> None:
    with pytest.raises(
        ContractError, match="'reason' is 'lost'; allowed: one of sale, return, del"
    ):
        CODEC.encode(Topic.INVENTORY, update(reason="lost"))
    with pytest.raises(ContractError, match="'sequence' is 9223372036854775808"):
        CODEC.encode(Topic.INVENTORY, update(sequence=2**63))
    with pytest.raises(ContractError, match="'risk' is nan; allowed: a finite number"):
        CODEC.encode(Topic.ALERTS, EVENTS[Topic.ALERTS] | {"risk": float("nan")})
    with pytest.raises(ContractError, match="'value' is 'text'; allowed: bytes"):
        CODEC.encode(Topic.QUARANTINE, quarantined(value="text"))
    with pytest.raises(ContractError, match="there is no schema version 9"):
        CODEC.encode(Topic.SALES, sale(), version=9)


def test_prose_may_be_longer_than_an_identifier() -> None:
    alert = EVENTS[Topic.ALERTS] | {"explanation": "x" * 4096}
    assert CODEC.decode(Topic.ALERTS, CODEC.encode(Topic.ALERTS, alert)).record == alert
    with pytest.raises(ContractError, match="at most 4096 characters"):
        CODEC.encode(Topic.ALERTS, alert | {"explanation": "x" * 4097})


GOOD = CODEC.encode(Topic.SALES, sale())


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (None, "empty value"),
        (b"", "empty value"),
        (b"\x01" + GOOD[1:], "wrong magic byte 0x01, expected 0x00"),
        (b'{"store_id": "304"}', "wrong magic byte 0x7b"),
        (GOOD[:4], "truncated: 4 bytes cannot hold the 5-byte schema header"),
        (b"\x00\x00\x00\x00\x63" + GOOD[5:], "unknown schema id 99"),
        (
            CODEC.encode(Topic.INVENTORY, update()),
            "schema id 4 belongs to topic retail-inventory-updates",
        ),
        (GOOD[:5], "truncated after 5 bytes"),
        (GOOD[:-1], f"truncated after {len(GOOD) - 1} bytes"),
        (GOOD + b"\x00\x00", "2 trailing bytes after the event"),
        (GOOD[:5] + b"\x02\xff" + GOOD[7:], "not a Sale"),
    ],
)
def test_bad_bytes_are_told_apart(payload: bytes | None, said: str) -> None:
    with pytest.raises(ContractError, match=f"^retail-sales-transactions: .*{said}"):
        CODEC.decode(Topic.SALES, payload)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity", 2**40),
        ("unit_price", (10**18).to_bytes(9, "big")),
        ("unit_price", b""),
        ("timestamp", 2**62),
    ],
)
def test_values_that_avro_carries_but_the_contract_does_not_are_refused(
    field: str, value: object
) -> None:
    schema = {
        "type": "record",
        "name": "Sale",
        "fields": [
            {"name": "transaction_id", "type": "string"},
            {"name": "store_id", "type": "string"},
            {"name": "product_id", "type": "string"},
            {"name": "quantity", "type": "long"},
            {"name": "unit_price", "type": "bytes"},
            {"name": "timestamp", "type": "long"},
            {"name": "customer_id", "type": ["null", "string"]},
            {"name": "payment_method", "type": "string"},
        ],
    }
    raw = io.BytesIO()
    schemaless_writer(
        raw, parse_schema(schema), old_sale() | {"unit_price": b"\x01"} | {field: value}
    )
    with pytest.raises(FieldError) as caught:
        CODEC.decode(Topic.SALES, struct.pack(">bI", 0, 1) + raw.getvalue())
    assert caught.value.field == field


def test_milliseconds_are_those_of_the_event() -> None:
    assert datetime.fromtimestamp(AT_MS / 1000, UTC) == datetime(2017, 11, 20, tzinfo=UTC)
