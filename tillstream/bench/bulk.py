"""Records to Kafka in whole batches, at a fraction of what a producer spends on each record.

For benchmarks alone, which share the machine with what they measure: one connection, one request at
a time, the broker's answer awaited. Only what the broker says it did not store is sent again.
"""

import time
from collections.abc import Mapping
from typing import Any

from kafka.errors import (
    KafkaError,
    LeaderNotAvailableError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    for_code,
)
from kafka.net.compat import KafkaNetClient
from kafka.partitioner.default import murmur2
from kafka.protocol.producer.produce import ProduceRequest
from kafka.record.default_records import DefaultRecordBatchBuilder

from producers.connection import client_options, require_reachable, unreachable
from tillstream.bench.traffic import Message
from tillstream.contracts.topics import Topic
from tillstream.settings import KafkaSettings

_TIMEOUT_MS = 60_000
_PATIENCE_S = 30.0
_RETRY_S = 0.1
# The broker says so before it appends anything: a starved one loses its leadership for a moment.
_NOT_STORED = (NotLeaderForPartitionError, LeaderNotAvailableError, NotEnoughReplicasError)

Place = tuple[Topic, int]
_BATCH_BYTES = 900_000  # uncompressed; the broker takes a megabyte
_ALL_REPLICAS = -1


class BulkSender:
    """Collects messages and sends them on `flush`, or when a partition has a batch full.

    Records of one key keep their order. Raises ServiceError when the broker does not store them.
    """

    def __init__(self, kafka: KafkaSettings, topics: tuple[Topic, ...]) -> None:
        self._kafka = kafka
        require_reachable(kafka, "publish")
        self._client = KafkaNetClient(**client_options(kafka))
        self._partitions = self._layout(topics)
        self._places: dict[tuple[Topic, bytes], Place] = {}
        self._batches: dict[Place, Any] = {}
        self._sizes: dict[Place, int] = {}

    def send(self, message: Message) -> None:
        key = (message.topic, message.key)
        place = self._places.get(key)
        if place is None:
            number = (murmur2(message.key) & 0x7FFFFFFF) % self._partitions[message.topic]
            place = self._places[key] = (message.topic, number)
        while True:
            batch = self._batches.get(place)
            if batch is None:
                batch = self._batches[place] = _new_batch()
                self._sizes[place] = 0
            # The broker stamps records itself: the time here is of no use.
            if batch.append(self._sizes[place], 0, message.key, message.value, []) is not None:
                self._sizes[place] += 1
                return
            self.flush()

    def flush(self) -> None:
        """Send what was collected and wait until all replicas have it."""
        if not self._batches:
            return
        waiting = {place: bytes(batch.build()) for place, batch in self._batches.items()}
        self._batches.clear()
        deadline = time.monotonic() + _PATIENCE_S
        while waiting:
            refused = self._refused(self._ask(_request(waiting)))
            final = [error for error in refused.values() if not isinstance(error, _NOT_STORED)]
            if final or (refused and time.monotonic() > deadline):
                raise unreachable(self._kafka, "publish", (final or list(refused.values()))[0])
            waiting = {place: waiting[place] for place in refused}
            if waiting:
                time.sleep(_RETRY_S)

    def close(self) -> None:
        self._client.close()

    def _layout(self, topics: tuple[Topic, ...]) -> dict[Topic, int]:
        """Partitions by topic; waits a moment for topics just created."""
        deadline = time.monotonic() + _PATIENCE_S
        cluster = self._client.cluster
        cluster.set_topics([topic.value for topic in topics])
        try:
            self._client.check_version()
            while True:
                future = cluster.request_update()
                self._client.poll(timeout_ms=1_000, future=future)
                found = {topic: cluster.partitions_for_topic(topic.value) for topic in topics}
                if all(found.values()):
                    return {topic: len(numbers) for topic, numbers in found.items()}
                if time.monotonic() > deadline:
                    raise unreachable(self._kafka, "publish", "a topic does not exist")
        except (KafkaError, OSError) as exc:
            raise unreachable(self._kafka, "publish", exc) from exc

    def _ask(self, request: Any) -> Any:
        try:
            (node, *_) = [broker.node_id for broker in self._client.cluster.brokers()]
            return self._client.send_and_receive(node, request, timeout_ms=_TIMEOUT_MS)
        except (KafkaError, OSError) as exc:
            raise unreachable(self._kafka, "publish", exc) from exc

    def _refused(self, response: Any) -> dict[Place, KafkaError]:
        return {
            (Topic(topic.name), part.index): for_code(part.error_code)(f"{topic.name}-{part.index}")
            for topic in response.responses
            for part in topic.partition_responses
            if part.error_code
        }


def _request(batches: Mapping[Place, bytes]) -> Any:
    topics: dict[Topic, list[Any]] = {}
    kind = ProduceRequest.TopicProduceData
    for (topic, number), records in batches.items():
        part = kind.PartitionProduceData(index=number, records=records)
        topics.setdefault(topic, []).append(part)
    return ProduceRequest(
        transactional_id=None,
        acks=_ALL_REPLICAS,
        timeout_ms=_TIMEOUT_MS,
        topic_data=[kind(name=t.value, partition_data=parts) for t, parts in topics.items()],
        min_version=3,
        max_version=9,
    )


def _new_batch() -> Any:
    return DefaultRecordBatchBuilder(
        magic=2,
        compression_type=DefaultRecordBatchBuilder.CODEC_LZ4,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=_BATCH_BYTES,
    )
