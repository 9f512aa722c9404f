"""Native blocks as a newer client asks for them (`client_protocol_version`).

The engine writes Native as for the oldest clients. Newer ones that name a protocol version, such
as Grafana's, expect each block to start with a block info, and each column's type to be followed by
a byte on its serialization. To put them in, a block has to be read: where each column's data ends
follows from its type.
"""

import re
from collections.abc import Callable

from tillstream.devstack.warehouse.errors import QueryError
from tillstream.devstack.warehouse.statement import split_types

# Older clients that name a version (clickhouse-connect) find out by a probe what they get.
FRAMED_SINCE = 54454
# Not an overflow block, of no bucket.
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_DEFAULT_SERIALIZATION = b"\x00"
_FIXED_BYTES = {
    **dict.fromkeys(("UInt8", "Int8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("UInt16", "Int16", "Date", "Enum16", "BFloat16"), 2),
    **dict.fromkeys(("UInt32", "Int32", "Float32", "Date32", "DateTime", "IPv4", "Time"), 4),
    **dict.fromkeys(("UInt64", "Int64", "Float64", "DateTime64", "Time64"), 8),
    **dict.fromkeys(("UInt128", "Int128", "UUID", "IPv6"), 16),
    **dict.fromkeys(("UInt256", "Int256"), 32),
}
_KEY_BYTES = (1, 2, 4, 8)
_NEEDS_GLOBAL_DICTIONARY = 1 << 8
_HAS_ADDITIONAL_KEYS = 1 << 9
_TYPE = re.compile(r"(\w+)(?:\((.*)\))?\Z", re.DOTALL)
_FIELD_NAME = re.compile(r"(?:[A-Za-z_]\w*|`(?:[^`\\]|\\.)*`)\s+(?=[A-Z])")


class _NotYet(Exception):
    """The block goes on beyond the bytes at hand."""


class NativeFramer:
    """Adds them to a stream of Native blocks."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._try_at = 0

    def compress(self, data: bytes | memoryview) -> bytes:
        """The blocks that are complete by now. Raises QueryError for a type it cannot read."""
        self._rest += data
        framed: list[bytes] = []
        done = 0
        # A block is read anew when more of it comes; wait for it to double, or that adds up.
        while len(self._rest) > done and len(self._rest) >= self._try_at:
            try:
                block, done = self._frame(done)
            except _NotYet:
                self._try_at = 2 * (len(self._rest) - done)
                break
            framed.append(block)
            self._try_at = 0
        del self._rest[:done]
        return b"".join(framed)

    def flush(self) -> bytes:
        self._try_at = 0
        return self.compress(b"")

    def _frame(self, at: int) -> tuple[bytes, int]:
        data = bytes(self._rest) if at == 0 else bytes(self._rest[at:])
        reader = _Reader(data)
        pieces = [_BLOCK_INFO]
        columns, rows = reader.varint(), reader.varint()
        copied = 0
        for _ in range(columns):
            reader.string()
            kind = reader.string().decode()
            pieces += [data[copied : reader.at], _DEFAULT_SERIALIZATION]
            copied = reader.at
            if rows:
                reader.prefix(kind)
                reader.values(kind, rows)
        pieces.append(data[copied : reader.at])
        return b"".join(pieces), at + reader.at


class _Reader:
    """Walks over one block. Raises _NotYet at its present end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def skip(self, size: int) -> None:
        if self.at + size > len(self._data):
            raise _NotYet
        self.at += size

    def varint(self) -> int:
        value = shift = 0
        while True:
            start = self.at
            self.skip(1)
            byte = self._data[start]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def uint64(self, start: int | None = None) -> int:
        if start is None:
            start = self.at
            self.skip(8)
        return int.from_bytes(self._data[start : start + 8], "little")

    def string(self) -> bytes:
        size = self.varint()
        self.skip(size)
        return self._data[self.at - size : self.at]

    def prefix(self, kind: str) -> None:
        """What precedes the values of a column, once."""
        name, arguments = _parse(kind)
        if name == "LowCardinality":
            self.skip(8)
        for inner in _inner(name, arguments):
            self.prefix(inner)

    def values(self, kind: str, rows: int) -> None:
        name, arguments = _parse(kind)
        size = _fixed_bytes(name, arguments)
        if size:
            self.skip(size * rows)
        elif name == "String":
            self._strings(rows)
        elif name == "Nullable":
            self.skip(rows)
            self.values(arguments[0], rows)
        elif name in ("Array", "Map"):
            self.skip(8 * rows)
            items = self.uint64(self.at - 8) if rows else 0
            for inner in _inner(name, arguments):
                self.values(inner, items)
        elif name == "LowCardinality":
            self._dictionary(arguments[0], rows)
        else:
            for inner in _inner(name, arguments):
                self.values(inner, rows)

    def _strings(self, rows: int) -> None:
        data, at = self._data, self.at
        try:
            for _ in range(rows):
                size = data[at]
                at += 1
                if size >= 0x80:
                    self.at = at - 1
                    size = self.varint()
                    at = self.at
                at += size
        except IndexError as exc:
            raise _NotYet from exc
        self.at = at
        self.skip(0)

    def _dictionary(self, kind: str, rows: int) -> None:
        if not rows:
            return
        flags = self.uint64()
        if flags & _NEEDS_GLOBAL_DICTIONARY or not flags & _HAS_ADDITIONAL_KEYS:
            raise QueryError(48, "A global dictionary in Native is not supported")
        name, arguments = _parse(kind)
        self.values(arguments[0] if name == "Nullable" else kind, self.uint64())
        self.skip(self.uint64() * _KEY_BYTES[flags & 0xFF])


def _parse(kind: str) -> tuple[str, list[str]]:
    found = _TYPE.match(kind)
    if found is None:
        raise _unsupported(kind)
    return found.group(1), split_types(found.group(2) or "")


def _fixed_bytes(name: str, arguments: list[str]) -> int:
    """Bytes of one value, or 0 when values differ in size."""
    if name.startswith("Interval"):
        return 8
    if name == "FixedString":
        return int(arguments[0])
    if name == "Decimal":
        digits = int(arguments[0])
        return next(
            size for limit, size in ((9, 4), (18, 8), (38, 16), (76, 32)) if digits <= limit
        )
    return _FIXED_BYTES.get(name, 0)


_INNER: dict[str, Callable[[list[str]], list[str]]] = {
    "Array": lambda arguments: arguments,
    "Map": lambda arguments: arguments,
    "Nullable": lambda arguments: arguments,
    "Tuple": lambda arguments: [_FIELD_NAME.sub("", part, count=1) for part in arguments],
    "SimpleAggregateFunction": lambda arguments: arguments[-1:],
    "LowCardinality": lambda _: [],
    "String": lambda _: [],
}


def _inner(name: str, arguments: list[str]) -> list[str]:
    if _fixed_bytes(name, arguments):
        return []
    if name not in _INNER:
        raise _unsupported(name)
    return _INNER[name](arguments)


def _unsupported(kind: str) -> QueryError:
    return QueryError(
        48, f"{kind} cannot be sent to a client that names a protocol version; cast it to another"
    )
