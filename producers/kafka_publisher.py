"""Publishing to Kafka."""

import threading
from collections import Counter
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.errors import AuthorizationError, KafkaError, MessageSizeTooLargeError

from producers.connection import (
    client_options,
    require_reachable,
    told_as_service_error,
    unreachable,
)
from producers.publisher import Delivery, Envelope, OnDelivery, PublisherStats, Sealer
from producers.window import Window
from tillstream.contracts.codec import Codec, FieldError
from tillstream.contracts.topics import Topic
from tillstream.errors import ContractError, ServiceError
from tillstream.settings import KafkaSettings

MAX_EVENT_BYTES = 1_000_000  # under the broker's default message.max.bytes, with its overhead
_CLOSE_TIMEOUT_S = 30.0

_PRODUCER_OPTIONS: dict[str, Any] = {
    "acks": "all",
    "enable_idempotence": True,
    "linger_ms": 10,
    "batch_size": 65_536,  # a quarter faster than 16384; larger ones gain nothing more
    "max_request_size": 1_048_576,
    "compression_type": "lz4",
    # A broker that is killed and comes back recovers its log first: give it minutes, not seconds.
    "delivery_timeout_ms": 300_000,
    "request_timeout_ms": 20_000,
    "max_block_ms": 60_000,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}


class KafkaPublisher:
    """A `Publisher` to a Kafka cluster: acknowledged by all in-sync replicas, idempotent, retried
    for five minutes, so that a broker may be killed and restarted meanwhile.

    At most `max_in_flight` events and `max_bytes` bytes are under way; then `publish` blocks, for
    `block_timeout_s` at most. Leaving the context flushes, after Ctrl-C too. Building it raises
    ServiceError when no broker can be reached.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        codec: Codec,
        *,
        customer_key: bytes,
        max_in_flight: int = 20_000,
        max_bytes: int = 32 * 1024 * 1024,
        block_timeout_s: float = 120.0,
    ) -> None:
        self._kafka = kafka
        self._sealer = Sealer(codec, customer_key=customer_key)
        self._window = Window(max_events=max_in_flight, max_bytes=max_bytes)
        self._block_timeout_s = block_timeout_s
        self._count = threading.Lock()
        self._sent = self._acknowledged = self._failed = self._failed_at_last_flush = 0
        self._rejected: Counter[tuple[Topic, str]] = Counter()
        self._last_error: BaseException | str = ""
        self._closed = False
        require_reachable(kafka, "publish")
        with told_as_service_error(kafka, "publish"):
            self._producer = KafkaProducer(**client_options(kafka), **_PRODUCER_OPTIONS)

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
            raise unreachable(self._kafka, f"publish to {topic}", "the publisher is closed")
        try:
            envelope = self._sealer.seal(topic, record, version)
            size = len(envelope.key) + len(envelope.value)
            if size > MAX_EVENT_BYTES:
                raise ContractError(
                    f"{topic}: the event has {size} bytes; allowed: {MAX_EVENT_BYTES}"
                )
        except ContractError as exc:
            field = exc.field if isinstance(exc, FieldError) else ""
            with self._count:
                self._rejected[topic, field] += 1
            raise
        if not self._window.enter(size, timeout_s=self._block_timeout_s):
            raise unreachable(
                self._kafka,
                f"publish to {topic}",
                f"{self._window.events} events are under way and none was acknowledged in time"
                f" ({self._block_timeout_s:g} s)",
            )
        self._send(envelope, size, on_delivery)

    def flush(self, timeout_s: float = 30.0) -> None:
        """See `Publisher.flush`."""
        drained = self._window.drained(timeout_s=timeout_s)
        with self._count:
            failed = self._failed - self._failed_at_last_flush
            self._failed_at_last_flush = self._failed
        if drained and not failed:
            return
        if failed and isinstance(self._last_error, AuthorizationError):
            raise unreachable(self._kafka, "publish", self._last_error)
        under_way = self._window.events
        raise ServiceError(
            f"Kafka at {self._kafka.bootstrap}: {under_way + failed} events are undelivered"
            f" ({under_way} still under way after {timeout_s:g} s, {failed} failed"
            + (f": {self._last_error})" if failed else ")"),
            hint="is the broker up? these events must be published again",
        )

    def close(self) -> None:
        """See `Publisher.close`. Does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush(_CLOSE_TIMEOUT_S)
        finally:
            self._disconnect()

    @property
    def stats(self) -> PublisherStats:
        with self._count:
            return PublisherStats(
                self._sent, self._acknowledged, self._failed, Counter(self._rejected)
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

    def _send(self, envelope: Envelope, size: int, on_delivery: OnDelivery | None) -> None:
        try:
            future = self._producer.send(
                envelope.topic.value, value=envelope.value, key=envelope.key
            )
        except BaseException as exc:
            self._window.leave(size)
            if isinstance(exc, MessageSizeTooLargeError):
                raise ContractError(f"{envelope.topic}: {exc}") from exc
            if isinstance(exc, KafkaError):
                raise unreachable(self._kafka, f"publish to {envelope.topic}", exc) from exc
            raise
        with self._count:
            self._sent += 1
        future.add_both(partial(self._settle, envelope.topic, envelope.identity, size, on_delivery))

    def _settle(
        self, topic: Topic, identity: str, size: int, on_delivery: OnDelivery | None, result: Any
    ) -> None:
        """Called once for every event sent, by kafka-python's I/O thread."""
        failed = isinstance(result, BaseException)
        with self._count:
            if failed:
                self._failed += 1
                self._last_error = result
            else:
                self._acknowledged += 1
        try:
            if on_delivery is not None and failed:
                on_delivery(Delivery(topic, identity, -1, -1, str(result)))
            elif on_delivery is not None:
                on_delivery(Delivery(topic, identity, result.partition, result.offset))
        finally:
            self._window.leave(size)

    def _disconnect(self) -> None:
        if not self._window.events:
            self._producer.close(timeout=_CLOSE_TIMEOUT_S)
            return
        # With events still under way, kafka-python's close raises from its flush and leaves its
        # thread running. Forcing its sender fails those events, and so reports them.
        sender = self._producer._sender
        sender.initiate_close()
        sender.force_close()
        sender.join(_CLOSE_TIMEOUT_S)
        self._producer.close(timeout=0)
