"""Publishing into a list: the twin of the Kafka publisher, for tests."""

from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from kafka.partitioner.default import murmur2

from producers.publisher import Delivery, OnDelivery, PublisherStats, Sealer
from producers.records import RawRecord
from tillstream.clock import Clock, SystemClock
from tillstream.contracts.codec import Codec, FieldError
from tillstream.contracts.topics import TOPIC_SPECS, Topic
from tillstream.errors import ContractError, ServiceError


class MemoryPublisher:
    """A `Publisher` that keeps its records, with the partitions and offsets Kafka would give them.

    Deliveries are reported at once, by the publishing thread. `fail_when`, given an event's
    identity, returns the error its delivery shall fail with, or None.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        customer_key: bytes,
        clock: Clock | None = None,
        fail_when: Callable[[str], str | None] | None = None,
    ) -> None:
        self._sealer = Sealer(codec, customer_key=customer_key)
        self._clock = clock or SystemClock()
        self._fail_when = fail_when
        self._logs: dict[tuple[Topic, int], list[RawRecord]] = {}
        self._acknowledged = self._failed = self._failed_at_last_flush = 0
        self._rejected: Counter[tuple[Topic, str]] = Counter()
        self._closed = False

    def publish(
        self,
        topic: Topic,
        record: Mapping[str, Any],
        *,
        on_delivery: OnDelivery | None = None,
        version: int | None = None,
    ) -> None:
        """See `Publisher.publish`."""
        if self._closed:
            raise ServiceError(f"cannot publish to {topic}: the publisher is closed")
        try:
            envelope = self._sealer.seal(topic, record, version)
        except ContractError as exc:
            self._rejected[topic, exc.field if isinstance(exc, FieldError) else ""] += 1
            raise
        error = self._fail_when(envelope.identity) if self._fail_when else None
        if error is not None:
            self._failed += 1
            delivery = Delivery(topic, envelope.identity, -1, -1, error)
        else:
            self._acknowledged += 1
            partition = _partition(envelope.key, TOPIC_SPECS[topic].partitions)
            log = self._logs.setdefault((topic, partition), [])
            delivery = Delivery(topic, envelope.identity, partition, len(log))
            log.append(
                RawRecord(
                    topic.value,
                    partition,
                    len(log),
                    self._clock.now_ms(),
                    envelope.key,
                    envelope.value,
                )
            )
        if on_delivery is not None:
            on_delivery(delivery)

    def records(self, topic: Topic) -> list[RawRecord]:
        """What the topic holds, by partition and offset."""
        return [
            record
            for partition in range(TOPIC_SPECS[topic].partitions)
            for record in self._logs.get((topic, partition), [])
        ]

    def flush(self, timeout_s: float = 30.0) -> None:
        """See `Publisher.flush`."""
        failed = self._failed - self._failed_at_last_flush
        self._failed_at_last_flush = self._failed
        if failed:
            raise ServiceError(f"{failed} events are undelivered")

    def close(self) -> None:
        """See `Publisher.close`."""
        if not self._closed:
            self._closed = True
            self.flush()

    @property
    def stats(self) -> PublisherStats:
        return PublisherStats(
            self._acknowledged + self._failed,
            self._acknowledged,
            self._failed,
            Counter(self._rejected),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _partition(key: bytes, partitions: int) -> int:
    """As Kafka's own clients choose it."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
