"""Kafka's record batch, format 2, written at once from keys and values.

kafka-python's own builder takes a record at a time, which costs more than making the events does.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache

from crc32c import crc32c
from kafka.codec import lz4_encode

_BEFORE_CRC = struct.Struct(">qiib")  # base offset, length, leader epoch, magic
_AFTER_CRC = struct.Struct(">hiqqqhii")
_MAGIC = 2
_LZ4 = 3
# What the length field does not count: base offset and the length itself.
_UNCOUNTED = 12


@lru_cache(maxsize=65_536)
def _varint(value: int) -> bytes:
    zigzag = value << 1
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def record_batch(
    keys: Sequence[bytes],
    values: Sequence[bytes],
    *,
    producer_id: int,
    producer_epoch: int,
    base_sequence: int,
) -> bytes:
    """One compressed batch, as a produce request carries it. The broker numbers and stamps the
    records. With the same arguments it is the same bytes, which an idempotent retry needs."""
    varint = _varint
    records = []
    for number, (key, value) in enumerate(zip(keys, values, strict=True)):
        # Attributes and the difference of time, both 0; after the value, no headers.
        body = b"".join(
            (b"\0\0", varint(number), varint(len(key)), key, varint(len(value)), value, b"\0")
        )
        records.append(varint(len(body)))
        records.append(body)
    packed = lz4_encode(b"".join(records))
    last = len(values) - 1
    tail = _AFTER_CRC.pack(
        _LZ4, last, 0, 0, producer_id, producer_epoch, base_sequence, len(values)
    )
    length = _BEFORE_CRC.size - _UNCOUNTED + 4 + len(tail) + len(packed)
    head = _BEFORE_CRC.pack(0, length, 0, _MAGIC)
    crc = crc32c(packed, crc32c(tail))
    return b"".join((head, crc.to_bytes(4, "big"), tail, packed))
