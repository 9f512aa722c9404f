"""A process of its own: one producer, until SIGTERM. It exits 0 when all it sent is settled, and
with another code when it gave up; whoever watches it starts it again at its last known position."""

import argparse
import json
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from kafka import KafkaProducer

from producers.connection import client_options
from producers.kafka_publisher import KafkaPublisher
from producers.publisher import Delivery
from simulators.ledger import Ledger
from tillstream.chaos.events import Event, EventSource, Poison
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings

_CHUNK = 512
_IDLE_S = 0.02
_FLUSH_EVERY_S = 0.25
_LAST_FLUSH_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--source", type=json.loads, required=True)
    parser.add_argument("--start", type=int, required=True)
    given = parser.parse_args()
    codec = Codec(load_catalogue())
    source = EventSource(**given.source, codec=codec)
    kafka = KafkaSettings(bootstrap=given.bootstrap)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    with Ledger.create(given.ledger) as ledger:
        _Sending(source, kafka, ledger, stopping).run(given.start)


class _Sending:
    def __init__(
        self, source: EventSource, kafka: KafkaSettings, ledger: Ledger, stopping: threading.Event
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._stopping = stopping
        self._failure: str | None = None
        self._publisher = KafkaPublisher(kafka, source.codec, customer_key=b"")
        # What no publisher of ours would send.
        self._raw = KafkaProducer(**client_options(kafka), acks="all", metrics_enabled=False)

    def run(self, start: int) -> None:
        """Raises ServiceError when an event was not delivered: it must be sent again."""
        number, flushed_at = start, 0.0
        while not self._stopping.is_set() and self._failure is None:
            due = min(self._source.due(time.time_ns() // 1_000_000), number + _CHUNK)
            if due > number:
                self._send([self._source.slot(one) for one in range(number, due)])
                number = due
            else:
                self._stopping.wait(_IDLE_S)
            if time.monotonic() - flushed_at > _FLUSH_EVERY_S:
                self._ledger.flush()
                flushed_at = time.monotonic()
        if self._failure is not None:
            raise ServiceError(f"an event was not delivered: {self._failure}")
        self._raw.flush(_LAST_FLUSH_S)
        self._publisher.flush(_LAST_FLUSH_S)
        self._publisher.close()
        self._raw.close()

    def _send(self, slots: Sequence[Event | Poison]) -> None:
        for slot in slots:
            if isinstance(slot, Event):
                self._ledger.attempted(slot.topic, slot.identity)
        self._ledger.flush()
        for slot in slots:
            if isinstance(slot, Event):
                self._publisher.publish(slot.topic, slot.record, on_delivery=self._settled)
            else:
                self._raw.send(slot.topic.value, key=slot.key, value=slot.value)

    def _settled(self, delivery: Delivery) -> None:
        if delivery.error is not None:
            self._ledger.failed(delivery.topic, delivery.identity, delivery.error)
            self._failure = delivery.error
            return
        self._ledger.acknowledged(
            delivery.topic, delivery.identity, delivery.partition, delivery.offset
        )


if __name__ == "__main__":
    main()
