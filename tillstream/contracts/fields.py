"""Checks of single values against their Avro type, compiled once per schema.

A check takes a value and returns it in Avro's own terms (money as its unscaled big-endian bytes,
time as UTC milliseconds), or raises `Rejected` with what would have been allowed.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from numbers import Integral
from typing import Any

Check = Callable[[Any], Any]

MAX_ID_CHARS = 256
MAX_TEXT_CHARS = 4096

# Prose written for people; every other string is an identifier, a code or a name.
_TEXT_FIELDS = frozenset({"explanation", "comment", "detail"})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
FIRST_MS = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
LAST_MS = (datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_TIME = "UTC milliseconds since 1970 as an int, or a datetime with a time zone, years 1 to 9999"

# The caller's own decimal context may round or trap; this one does neither within 100 digits.
_EXACT = Context(prec=100, traps=[])


class Rejected(Exception):
    """A value does not fit; the message says what is allowed."""


def compile_check(name: str, avro_type: Any) -> Check:
    """The check of one field, from its Avro type. Raises ValueError for a type no contract uses."""
    if isinstance(avro_type, list):
        inner = [branch for branch in avro_type if branch != "null"]
        if len(inner) != 1 or len(avro_type) != 2:
            raise ValueError(f"field {name}: only a union of null and one type is supported")
        return _nullable(compile_check(name, inner[0]))
    plain = avro_type["type"] if isinstance(avro_type, dict) else avro_type
    logical = avro_type.get("logicalType") if isinstance(avro_type, dict) else None
    match plain, logical:
        case "bytes", "decimal":
            return _money(avro_type["precision"], avro_type["scale"])
        case "long", "timestamp-millis":
            return _timestamp
        case "string", None:
            limit = MAX_TEXT_CHARS if name in _TEXT_FIELDS else MAX_ID_CHARS
            return _string(limit, blank_allowed=not name.endswith("_id"))
        case "int", None:
            return _whole(32)
        case "long", None:
            return _whole(64)
        case "double", None:
            return _double
        case "bytes", None:
            return _bytes
        case "enum", None:
            return _symbol(avro_type["symbols"])
    raise ValueError(f"field {name}: Avro type {avro_type!r} is not supported")


def money_from_bytes(raw: bytes, *, precision: int, scale: int) -> Decimal:
    """The exact amount of an Avro decimal. Raises Rejected beyond the schema's precision."""
    unscaled = int.from_bytes(raw, "big", signed=True)
    if not raw or abs(unscaled) >= 10**precision:
        raise Rejected(f"an amount of at most {precision} digits")
    return _EXACT.scaleb(Decimal(unscaled), -scale)


def _nullable(check: Check) -> Check:
    def nullable(value: Any) -> Any:
        return None if value is None else check(value)

    return nullable


def _string(limit: int, *, blank_allowed: bool) -> Check:
    def string(value: Any) -> str:
        if not isinstance(value, str):
            raise Rejected("a string")
        if len(value) > limit:
            raise Rejected(f"at most {limit} characters (this has {len(value)})")
        if not blank_allowed and (not value or value.isspace()):
            raise Rejected("an identifier that is not blank")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as exc:
                raise Rejected("text that UTF-8 can hold (no lone surrogates)") from exc
        return value

    return string


def _whole(bits: int) -> Check:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    allowed = f"a whole number from {low} to {high}"

    def whole(value: Any) -> int:
        if type(value) is not int:
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise Rejected(allowed)
            value = int(value)  # numpy's whole numbers
        if low <= value <= high:
            return int(value)
        raise Rejected(allowed)

    return whole


def _money(precision: int, scale: int) -> Check:
    allowed = f"a finite Decimal with at most {scale} decimals and {precision} digits in all"
    limit = 10**precision
    scaleb = _EXACT.scaleb
    up, down = Decimal(scale), Decimal(-scale)

    def money(value: Any) -> bytes:
        if not isinstance(value, Decimal) or not value.is_finite():
            raise Rejected(allowed)
        # Far exponents first: turning 1E+999999 into an int would take all memory.
        if value.adjusted() >= precision and value:
            raise Rejected(allowed)
        unscaled = int(scaleb(value, up))
        if not -limit < unscaled < limit or scaleb(Decimal(unscaled), down) != value:
            raise Rejected(allowed)
        return unscaled.to_bytes((unscaled.bit_length() + 8) // 8, "big", signed=True)

    return money


def _timestamp(value: Any) -> int:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Rejected(_TIME)
        return (value - _EPOCH) // _MILLISECOND
    if type(value) is not int:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise Rejected(_TIME)
        value = int(value)
    if FIRST_MS <= value <= LAST_MS:
        return int(value)
    raise Rejected(_TIME)


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Rejected("a finite number")
    try:
        number = float(value)
    except OverflowError as exc:
        raise Rejected("a finite number") from exc
    if not math.isfinite(number):
        raise Rejected("a finite number")
    return number


def _bytes(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise Rejected("bytes")
    return bytes(value)


def _symbol(symbols: list[str]) -> Check:
    known = frozenset(symbols)
    allowed = "one of " + ", ".join(symbols)

    def symbol(value: Any) -> str:
        if isinstance(value, str) and value in known:
            return str(value)
        raise Rejected(allowed)

    return symbol
