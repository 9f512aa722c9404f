"""Reading records back, without a consumer group: for people, audits and tests."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from producers.connection import client_options, require_reachable, unreachable
from producers.records import RawRecord
from producers.topics import TopicInspector
from tillstream.errors import ConfigError
from tillstream.settings import KafkaSettings

__all__ = ["RawRecord", "consumer_of", "read_at", "read_records"]

Start = Literal["earliest", "latest"] | int | Mapping[int, int]
Coordinates = tuple[str, int, int]

_POLL_MS = 200
_STALL_S = 15.0
# Reading on over a short gap is cheaper than a new fetch.
_SKIP_RECORDS = 500


def read_records(
    kafka: KafkaSettings,
    topic: str,
    *,
    partition: int | None = None,
    start: Start = "earliest",
    follow: bool = False,
) -> Iterator[RawRecord]:
    """The topic's records from `start` up to the end it has now or, with `follow`, for ever.

    `start` is "earliest", "latest", an offset, a negative number (that many before the end of each
    partition), or a mapping of partitions to such offsets. An offset that has expired moves up to
    the first record there is. Each partition comes in order; partitions interleave. Raises
    ConfigError for a topic or partition that does not exist, ServiceError when the broker cannot be
    reached or stops answering.
    """
    with TopicInspector(kafka) as inspector:
        ranges = _existing(inspector, topic, partition)
    first = {
        tp: _first_offset(
            start.get(tp.partition, "earliest") if isinstance(start, Mapping) else start, span
        )
        for tp, span in ranges.items()
    }
    ends = {tp: high for tp, (_, high) in ranges.items()}
    consumer = consumer_of(kafka, f"read {topic}")
    try:
        wanted = [tp for tp in first if follow or first[tp] < ends[tp]]
        if not wanted:
            return
        consumer.assign(wanted)
        for tp in wanted:
            consumer.seek(tp, first[tp])
        yield from _poll(kafka, consumer, None if follow else {tp: ends[tp] for tp in wanted})
    except (KafkaError, OSError) as exc:
        raise unreachable(kafka, f"read {topic}", exc) from exc
    finally:
        consumer.close(autocommit=False)


def read_at(
    kafka: KafkaSettings, coordinates: Iterable[Coordinates]
) -> dict[Coordinates, RawRecord | None]:
    """The record at each (topic, partition, offset), or None where the broker has none at exactly
    that offset: expired, not yet written, or no such topic. Raises ServiceError when the broker
    cannot be reached or stops answering."""
    found: dict[Coordinates, RawRecord | None] = dict.fromkeys(coordinates)
    if not found:
        return found
    with TopicInspector(kafka) as inspector:
        ranges = inspector.offset_ranges({topic for topic, _, _ in found})
    offsets: dict[TopicPartition, list[int]] = {}
    for topic, number, offset in sorted(found):
        low, high = ranges.get((topic, number), (0, 0))
        if low <= offset < high:
            offsets.setdefault(TopicPartition(topic, number), []).append(offset)
    if not offsets:
        return found
    consumer = consumer_of(kafka, "read records by offset")
    try:
        for tp, wanted in offsets.items():
            consumer.assign([tp])
            for run in _runs(wanted):
                consumer.resume(tp)  # paused at the end of the run before
                consumer.seek(tp, run[0])
                for record in _poll(kafka, consumer, {tp: run[-1] + 1}):
                    at = (record.topic, record.partition, record.offset)
                    if at in found:
                        found[at] = record
    except (KafkaError, OSError) as exc:
        raise unreachable(kafka, "read records by offset", exc) from exc
    finally:
        consumer.close(autocommit=False)
    return found


def consumer_of(kafka: KafkaSettings, doing: str) -> Any:
    """A consumer without a group, to be assigned partitions by hand."""
    require_reachable(kafka, doing)
    try:
        return KafkaConsumer(
            client_id="tillstream-reader",
            group_id=None,
            enable_auto_commit=False,
            # A position that vanished must not silently jump to another one.
            auto_offset_reset="none",
            allow_auto_create_topics=False,
            exclude_internal_topics=False,
            metrics_enabled=False,
            max_poll_records=5_000,
            **client_options(kafka),
        )
    except (KafkaError, OSError) as exc:
        raise unreachable(kafka, doing, exc) from exc


def _existing(
    inspector: TopicInspector, topic: str, partition: int | None
) -> dict[TopicPartition, tuple[int, int]]:
    ranges = {
        TopicPartition(name, number): span
        for (name, number), span in inspector.offset_ranges([topic]).items()
    }
    if not ranges:
        raise ConfigError(
            f"the broker has no topic {topic}", hint="`tillstream up` creates the platform's topics"
        )
    if partition is None:
        return ranges
    chosen = TopicPartition(topic, partition)
    if chosen not in ranges:
        raise ConfigError(
            f"topic {topic} has no partition {partition}; it has 0 to {len(ranges) - 1}"
        )
    return {chosen: ranges[chosen]}


def _first_offset(start: Literal["earliest", "latest"] | int, span: tuple[int, int]) -> int:
    low, high = span
    if start == "earliest":
        return low
    if start == "latest":
        return high
    return max(low, start if start >= 0 else high + start)


def _runs(offsets: list[int]) -> Iterator[list[int]]:
    """Ascending offsets, cut where the gap is too wide to read over."""
    run: list[int] = []
    for offset in offsets:
        if run and offset - run[-1] > _SKIP_RECORDS:
            yield run
            run = []
        run.append(offset)
    if run:
        yield run


def _poll(
    kafka: KafkaSettings, consumer: Any, ends: dict[TopicPartition, int] | None
) -> Iterator[RawRecord]:
    """Records of the assigned partitions until each has reached its end offset (exclusive)."""
    left = None if ends is None else dict(ends)
    moved_at = time.monotonic()
    while left is None or left:
        batches = consumer.poll(timeout_ms=_POLL_MS)
        for tp, batch in batches.items():
            moved_at = time.monotonic()
            end = None if ends is None else ends.get(tp)
            for record in batch:
                if end is not None and record.offset >= end:
                    break
                yield RawRecord(
                    record.topic,
                    record.partition,
                    record.offset,
                    record.timestamp,
                    record.key,
                    record.value,
                )
        if left is None:
            continue
        # The position also passes offsets that hold no record, as after a transaction.
        for tp in [tp for tp in left if consumer.position(tp) >= left[tp]]:
            del left[tp]
            consumer.pause(tp)
        if left and time.monotonic() - moved_at > _STALL_S:
            raise unreachable(
                kafka, "read to the end", f"nothing came for {_STALL_S:g} s, {left} still to reach"
            )
