"""Columns to Avro, many events at once: the very bytes that the codec makes of each.

Every field becomes a matrix of bytes, one row an event, with a mask of the bytes that count. The
masked bytes of all fields, row by row, are the events one after another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tillstream.contracts.catalogue import SchemaRef

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_SCALE = 10_000
# Matrices of so many rows stay in the processor's cache.
_ROWS = 8_192


@dataclass(frozen=True, slots=True)
class Text:
    """ASCII, one row an event; `length` counts from the left where it varies, and a row with
    `given` False is null."""

    chars: Bytes
    length: Ints | None = None
    given: Bools | None = None

    def rows(self, part: slice) -> "Text":
        return Text(
            self.chars[part],
            None if self.length is None else self.length[part],
            None if self.given is None else self.given[part],
        )


@dataclass(frozen=True, slots=True)
class Number:
    """Whole numbers, milliseconds, ten-thousandths of money, or places in an enum."""

    values: Ints
    given: Bools | None = None

    def rows(self, part: slice) -> "Number":
        return Number(self.values[part], None if self.given is None else self.given[part])


Column = Text | Number
_Cell = tuple[Bytes, Bools | None]


def encode(schema: SchemaRef, columns: Mapping[str, Column], count: int) -> list[bytes]:
    """Each event's bytes in the wire format. Fields that are not given take their default, which
    must be null or 0. Values are trusted to fit: this is for events made here."""
    header = np.frombuffer(b"\x00" + schema.id.to_bytes(4, "big"), dtype=np.uint8)
    values: list[bytes] = []
    for start in range(0, count, _ROWS):
        part = slice(start, min(start + _ROWS, count))
        rows = part.stop - start
        cells: list[_Cell] = [(np.broadcast_to(header, (rows, len(header))), None)]
        for field in schema.schema["fields"]:
            column = columns.get(field["name"])
            cells += _field(field["type"], column.rows(part) if column else None, rows)
        values += pack(cells, rows)
    return values


def pack(cells: Sequence[_Cell], rows: int) -> list[bytes]:
    """The masked bytes of all cells, one bytes object a row."""
    width = sum(matrix.shape[1] for matrix, _ in cells)
    table = np.empty((rows, width), dtype=np.uint8)
    kept = np.ones((rows, width), dtype=bool)
    at = 0
    for matrix, mask in cells:
        end = at + matrix.shape[1]
        table[:, at:end] = matrix
        if mask is not None:
            kept[:, at:end] = mask
        at = end
    data = table[kept].tobytes()
    ends = np.cumsum(kept.sum(axis=1)).tolist()
    return [data[a:z] for a, z in zip([0, *ends[:-1]], ends, strict=True)]


def _field(avro_type: Any, column: Column | None, rows: int) -> list[_Cell]:
    if isinstance(avro_type, list):
        if column is None:
            return [(np.zeros((rows, 1), dtype=np.uint8), None)]
        inner = next(branch for branch in avro_type if branch != "null")
        cells = _plain(inner, column)
        # The branch of a union is its place in it: null is 0, the value is 1.
        if column.given is None:
            return [(np.full((rows, 1), 2, dtype=np.uint8), None), *cells]
        given = column.given
        branch = np.where(given, 2, 0).astype(np.uint8)[:, None]
        return [
            (branch, None),
            *((m, given[:, None] & (True if mask is None else mask)) for m, mask in cells),
        ]
    if column is None:
        return [varint(np.zeros(rows, dtype=np.int64))]
    return _plain(avro_type, column)


def _plain(avro_type: Any, column: Column) -> list[_Cell]:
    if isinstance(column, Text):
        length = column.length
        if length is None:
            rows, width = column.chars.shape
            return [varint(np.full(rows, width)), (column.chars, None)]
        mask = np.arange(column.chars.shape[1]) < length[:, None]
        return [varint(length), (column.chars, mask)]
    if isinstance(avro_type, dict) and avro_type.get("logicalType") == "decimal":
        return _money(column.values)
    return [varint(column.values)]


def varint(values: Ints) -> _Cell:
    """Zigzag variable-length integers."""
    zigzag = ((values << 1) ^ (values >> 63)).astype(np.uint64)
    most = int(zigzag.max(initial=0))
    width = max(1, -(-most.bit_length() // 7))
    shifts = (np.arange(width) * 7).astype(np.uint64)
    shifted = zigzag[:, None] >> shifts
    more = np.zeros((len(values), width), dtype=bool)
    more[:, :-1] = shifted[:, 1:] > 0
    matrix = (shifted & np.uint64(0x7F)).astype(np.uint8) | (more * np.uint8(0x80))
    mask = np.ones_like(more)
    mask[:, 1:] = more[:, :-1]
    return matrix, None if mask.all() else mask


def _money(values: Ints) -> list[_Cell]:
    """The shortest big-endian two's complement that holds the sign."""
    size = 1 + np.zeros(len(values), dtype=np.int64)
    magnitude = np.abs(values)
    for byte in range(1, 8):
        size += magnitude >= 1 << (8 * byte - 1)
    width = int(size.max(initial=1))
    shifts = np.arange(width - 1, -1, -1) * 8
    matrix = ((values[:, None] >> shifts) & 0xFF).astype(np.uint8)
    mask = np.arange(width)[::-1] < size[:, None]
    return [varint(size), (matrix, mask)]


def digits(values: Ints, width: int) -> Bytes:
    """Decimal digits with leading zeros."""
    powers = 10 ** np.arange(width - 1, -1, -1)
    return (values[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def lettered(letter: str, numbers: Bytes) -> Bytes:
    """A letter before each row."""
    first = np.full((len(numbers), 1), ord(letter), dtype=np.uint8)
    return np.concatenate([first, numbers], axis=1)


_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def hexadecimal(values: Ints, width: int) -> Bytes:
    shifts = np.arange(width - 1, -1, -1) * 4
    return np.asarray(_HEX[(values[:, None] >> shifts) & 0xF])


def chosen(names: Sequence[str], index: Ints) -> Text:
    """One of a few names by row."""
    width = max(len(name) for name in names)
    table = np.frombuffer(
        b"".join(name.encode("ascii").ljust(width) for name in names), dtype=np.uint8
    ).reshape(len(names), width)
    lengths = np.array([len(name) for name in names])
    return Text(table[index], lengths[index])
