"""A record as the broker holds it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RawRecord:
    """Bytes and coordinates. `timestamp_ms` is the arrival time, UTC milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
