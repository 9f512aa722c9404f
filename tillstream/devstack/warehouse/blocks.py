"""ClickHouse's own block compression (`compress=1`, `decompress=1`).

A block is a checksum (16 bytes), a method (1), its size with these 9 bytes of header (4), the size
of the data (4) and the data. The checksum is CityHash128 1.0.2 of all that follows it; the
computation is a library's, which is optional.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import cast

import lz4.block
import zstandard

from tillstream.devstack.warehouse.errors import QueryError

_BLOCK_BYTES = 1 << 20
_MAX_BLOCK_BYTES = 1 << 30
_HEADER = struct.Struct("<BII")
_CHECKSUM = struct.Struct("<QQ")
_NONE, _LZ4, _ZSTD = 0x02, 0x82, 0x90


class BlockDeflater:
    """Compresses with LZ4, a block for each MB."""

    def __init__(self) -> None:
        self._hash = _city_hash()
        self._rest = bytearray()

    def compress(self, data: bytes | memoryview) -> bytes:
        self._rest += data
        blocks = []
        while len(self._rest) >= _BLOCK_BYTES:
            blocks.append(self._block(bytes(self._rest[:_BLOCK_BYTES])))
            del self._rest[:_BLOCK_BYTES]
        return b"".join(blocks)

    def flush(self) -> bytes:
        rest, self._rest = bytes(self._rest), bytearray()
        return self._block(rest) if rest else b""

    def _block(self, data: bytes) -> bytes:
        packed = bytes(lz4.block.compress(data, store_size=False))
        block = _HEADER.pack(_LZ4, _HEADER.size + len(packed), len(data)) + packed
        return _CHECKSUM.pack(*self._hash(block)) + block


def decompress_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The data of the blocks. Raises QueryError when one is cut or its checksum is wrong."""
    city_hash = _city_hash()
    head = _CHECKSUM.size + _HEADER.size
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while len(rest) >= head:
            method, packed_size, size = _HEADER.unpack_from(rest, _CHECKSUM.size)
            end = _CHECKSUM.size + packed_size
            if packed_size < _HEADER.size or max(packed_size, size) > _MAX_BLOCK_BYTES:
                raise QueryError(271, f"Too large size of compressed block: {packed_size}")
            if len(rest) < end:
                break
            block = bytes(rest[_CHECKSUM.size : end])
            if _CHECKSUM.unpack_from(rest) != city_hash(block):
                raise QueryError(40, "Checksum doesn't match: corrupted data")
            yield _unpack(method, block[_HEADER.size :], size)
            del rest[:end]
    if rest:
        raise QueryError(271, "Cannot decompress the request body: its last block is cut")


def _unpack(method: int, packed: bytes, size: int) -> bytes:
    try:
        if method == _LZ4:
            return bytes(lz4.block.decompress(packed, uncompressed_size=size))
        if method == _ZSTD:
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as exc:
        raise QueryError(271, f"Cannot decompress a block of the request body: {exc}") from exc
    if method == _NONE:
        return packed
    raise QueryError(89, f"Unknown compression method: {method:#x}")


def _city_hash() -> Callable[[bytes], tuple[int, int]]:
    try:
        module = import_module("clickhouse_cityhash.cityhash")
    except ImportError as exc:
        raise QueryError(
            48,
            "ClickHouse's own block compression (compress, decompress) needs the package "
            "clickhouse-cityhash on this server; use Accept-Encoding and Content-Encoding instead",
        ) from exc
    city_hash128 = cast(Callable[[bytes], int], module.CityHash128)

    def halves(data: bytes) -> tuple[int, int]:
        number = city_hash128(data)
        return number >> 64, number & 0xFFFFFFFFFFFFFFFF

    return halves
