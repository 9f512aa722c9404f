"""The HTTP content encodings of both directions: gzip, deflate, lz4 (frames) and zstd."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import lz4.frame
import zstandard

from tillstream.devstack.warehouse.errors import QueryError

# The order ClickHouse prefers them in when a client accepts several.
RESPONSE_ENCODINGS = ("lz4", "gzip", "deflate", "zstd")
_GZIP_BITS = zlib.MAX_WBITS | 16


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_INFLATERS: dict[str, Callable[[], _Inflater]] = {
    "gzip": lambda: zlib.decompressobj(_GZIP_BITS),
    "deflate": zlib.decompressobj,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


def decompress(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decoded chunks; frames may follow one another. Raises QueryError on cut or broken input."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        yield from chunks
        return
    if encoding not in _INFLATERS:
        raise QueryError(48, f"Unknown compression method '{encoding}' in Content-Encoding")
    inflater: _Inflater | None = None
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if inflater is None:
                    inflater = _INFLATERS[encoding]()
                decoded = inflater.decompress(rest)
                if decoded:
                    yield decoded
                rest = b""
                if inflater.eof:
                    rest = getattr(inflater, "unused_data", b"") or b""
                    inflater = None
    except (zlib.error, zstandard.ZstdError, RuntimeError) as exc:
        raise QueryError(271, f"Cannot decompress the {encoding} request body: {exc}") from exc
    if inflater is not None:
        raise QueryError(271, f"Cannot decompress the request body: its {encoding} data is cut")


class Deflater(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Lz4Deflater:
    """lz4's compressor wants a begin() whose bytes belong to the stream."""

    def __init__(self) -> None:
        self._lz4 = lz4.frame.LZ4FrameCompressor()
        self._head: bytes = self._lz4.begin()

    def compress(self, data: bytes | memoryview, /) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._lz4.compress(data))

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._lz4.flush())


def deflater(encoding: str) -> Deflater:
    if encoding == "lz4":
        return _Lz4Deflater()
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=1).compressobj()
    bits = _GZIP_BITS if encoding == "gzip" else zlib.MAX_WBITS
    return zlib.compressobj(level=3, wbits=bits)


def choose_encoding(accept_encoding: str) -> str | None:
    """The encoding to answer with, or None for plain bytes."""
    accepted = set()
    for item in accept_encoding.lower().split(","):
        name, _, weight = item.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0"):
            accepted.add(name.strip())
    return next((name for name in RESPONSE_ENCODINGS if name in accepted), None)
