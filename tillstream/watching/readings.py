"""What the live view knows at one moment, part by part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["good", "warn", "bad", "unknown"]


@dataclass(frozen=True, slots=True)
class Health:
    """One part: is it well, and in a few words why."""

    part: str
    level: Level
    words: str


@dataclass(frozen=True, slots=True)
class Risk:
    store: str
    product: str
    on_hand: int
    daily_units: float
    empty_days: float
    risk: float
    margin: float


@dataclass(frozen=True, slots=True)
class Alert:
    at: str
    state: str
    explanation: str


@dataclass(frozen=True, slots=True)
class WarehouseReading:
    """`problem` says why nothing else is known. `stored` is the sum of all committed offsets, and
    `events_per_s` how it grew since the last look."""

    problem: str = ""
    took_s: float = 0.0
    version: str = ""
    stored: int = 0
    events_per_s: float | None = None
    committed_ago_s: float | None = None
    open_alerts: int = 0
    risky_shelves: int = 0
    shelves_on_defaults: int = 0
    risks: tuple[Risk, ...] = ()
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class QueryReading:
    """One query of the stream. `catch_up_s` is 0 when it keeps up, infinite when it falls behind,
    None when that is not known yet."""

    running: bool
    lag: int
    catch_up_s: float | None
    retries: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StreamReading:
    """`problem` says why nothing else is known. What is None needs a second look, or has not
    happened."""

    problem: str = ""
    queries: Mapping[str, QueryReading] = field(default_factory=dict)
    events_per_s: float | None = None
    refused_per_s: float | None = None
    p50_s: float | None = None
    p99_s: float | None = None
    batch_s: float | None = None
    steps_s: Mapping[str, float] = field(default_factory=dict)
    kafka_up: bool | None = None
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class KafkaReading:
    """Whether a broker takes connections, and how long that took."""

    address: str
    problem: str = ""
    took_s: float = 0.0


Reading = KafkaReading | StreamReading | WarehouseReading


def health(
    kafka: KafkaReading | None, warehouse: WarehouseReading | None, stream: StreamReading | None
) -> tuple[Health, ...]:
    """Every part in the order data flows; None has not been asked yet."""
    return (_kafka(kafka, stream), _stream(stream, warehouse), _warehouse(warehouse), _lake(stream))


def _kafka(reading: KafkaReading | None, stream: StreamReading | None) -> Health:
    if reading is None:
        return Health("kafka", "unknown", "asking …")
    if reading.problem:
        return Health("kafka", "bad", f"unreachable: {reading.problem}")
    if stream is not None and stream.kafka_up is False:
        return Health(
            "kafka", "warn", f"takes connections at {reading.address}, but the stream fails"
        )
    return Health("kafka", "good", f"answers at {reading.address}")


def _warehouse(reading: WarehouseReading | None) -> Health:
    if reading is None:
        return Health("warehouse", "unknown", "asking …")
    if reading.problem:
        return Health("warehouse", "bad", f"unreachable: {reading.problem}")
    level: Level = "warn" if reading.took_s > 2 else "good"
    return Health(
        "warehouse", level, f"ClickHouse {reading.version}, answers in {reading.took_s:.2f} s"
    )


def _stream(reading: StreamReading | None, warehouse: WarehouseReading | None) -> Health:
    if reading is None:
        return Health("stream", "unknown", "asking …")
    if reading.problem:
        words = reading.problem
        if warehouse is not None and warehouse.committed_ago_s is not None:
            words += f"; newest commit {warehouse.committed_ago_s:.0f} s ago"
        return Health("stream", "bad", words)
    live, watch = reading.queries.get("live"), reading.queries.get("watch")
    if live is None:
        return Health("stream", "warn", "starting")
    if not live.running:
        return Health("stream", "bad", f"not running: {live.reason or 'see its log'}")
    if live.catch_up_s:
        return Health("stream", "warn", "running, behind")
    if watch is not None and watch.catch_up_s:
        return Health("stream", "warn", "running; risk and alerts are behind")
    batch = f", {reading.batch_s:.2f} s a batch" if reading.batch_s is not None else ""
    memory = f", {reading.memory_bytes / 2**30:.1f} GiB" if reading.memory_bytes else ""
    return Health("stream", "good", f"running{batch}{memory}")


def _lake(reading: StreamReading | None) -> Health:
    query = reading.queries.get("lake") if reading is not None else None
    if query is None:
        return Health("lake", "unknown", "the stream has not said")
    if not query.running:
        return Health("lake", "bad", f"not written: {query.reason or 'see the log of the stream'}")
    if query.catch_up_s:
        return Health("lake", "warn", f"behind, {query.lag:,} records to archive")
    return Health("lake", "good", f"written, {query.lag:,} records to archive")
