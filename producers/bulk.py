"""Publishing finished messages in whole batches, for those who make them by the thousand.

`KafkaPublisher` checks and sends one event at a time. Here the caller vouches for the events, and
a batch costs about what a single one does there.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

from kafka import TopicPartition
from kafka.errors import DuplicateSequenceNumberError, KafkaError, RetriableError, for_code
from kafka.net.compat import KafkaNetClient
from kafka.partitioner.default import murmur2
from kafka.protocol.producer.produce import ProduceRequest
from kafka.protocol.producer.transaction import InitProducerIdRequest

from producers.connection import client_options, require_reachable, unreachable
from producers.record_batch import record_batch
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings

Place = tuple[Topic, int]
# (keys, values) of each partition, of equal length
Batches = Mapping[Place, tuple[Sequence[bytes], Sequence[bytes]]]

_ALL_REPLICAS: Final = -1
_REQUEST_TIMEOUT_MS: Final = 20_000
_RETRY_S: Final = 0.25
_MAX_SEQUENCE: Final = 2**31


class BulkPublisher:
    """Batches to a Kafka cluster: acknowledged by all in-sync replicas, idempotent, in order.

    A batch that was not answered is sent again as it was, under the same producer id and sequence,
    so that the broker stores it once; `on_trouble` is told in words each time. After `patience_s`
    without an answer `send` raises ServiceError. For one thread. Building it raises ServiceError
    when no broker can be reached.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: Sequence[Topic],
        *,
        patience_s: float = 60.0,
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._patience_s = patience_s
        self._on_trouble = on_trouble
        require_reachable(kafka, "publish")
        self._client = KafkaNetClient(**client_options(kafka))
        try:
            self._retried(lambda: self._client.check_version())
            self.partitions = self._retried(self._layout)
            self._producer_id, self._epoch = self._retried(self._new_producer)
        except ServiceError:
            self._client.close()
            raise
        self._sequences: dict[Place, int] = {}

    def partition_of(self, topic: Topic, key: bytes) -> int:
        """As Kafka's own clients choose it."""
        return int((murmur2(key) & 0x7FFFFFFF) % self.partitions[topic])

    def send(self, batches: Batches) -> dict[Place, int]:
        """Store the batches, one of each partition at most, and return the offset of each one's
        first record. Raises ServiceError when some are not known to be stored."""
        waiting = {}
        counts = {}
        for place, (keys, values) in batches.items():
            sequence = self._sequences.get(place, 0)
            waiting[place] = record_batch(
                keys,
                values,
                producer_id=self._producer_id,
                producer_epoch=self._epoch,
                base_sequence=sequence,
            )
            counts[place] = len(values)
        offsets: dict[Place, int] = {}

        def attempt() -> None:
            for leader, batch in self._by_leader(waiting).items():
                for place, offset in self._ask(leader, batch).items():
                    offsets[place] = offset
                    del waiting[place]
                    advanced = self._sequences.get(place, 0) + counts[place]
                    self._sequences[place] = advanced % _MAX_SEQUENCE
            if waiting:
                raise RetriableError(f"{len(waiting)} batches were not stored")

        self._retried(attempt)
        return offsets

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, leader: int, batches: Mapping[Place, bytes]) -> dict[Place, int]:
        """The offsets of those that the broker has stored. Raises what is final."""
        response = self._client.send_and_receive(
            leader, _request(batches), timeout_ms=_REQUEST_TIMEOUT_MS
        )
        stored = {}
        trouble: KafkaError | None = None
        for topic in response.responses:
            for part in topic.partition_responses:
                place = (Topic(topic.name), part.index)
                if not part.error_code:
                    stored[place] = part.base_offset
                    continue
                error = for_code(part.error_code)(f"{topic.name}-{part.index}")
                if not isinstance(error, RetriableError) or isinstance(
                    error, DuplicateSequenceNumberError
                ):
                    raise unreachable(self._kafka, f"publish to {topic.name}", error)
                trouble = error
        if trouble is not None:
            self._refresh()
        return stored

    def _by_leader(self, batches: Mapping[Place, bytes]) -> dict[int, dict[Place, bytes]]:
        cluster = self._client.cluster
        found: dict[int, dict[Place, bytes]] = {}
        for place, batch in batches.items():
            leader = cluster.leader_for_partition(TopicPartition(place[0].value, place[1]))
            if leader is None or leader == -1:
                self._refresh()
                raise RetriableError(f"{place[0]}-{place[1]} has no leader")
            found.setdefault(leader, {})[place] = batch
        return found

    def _layout(self) -> dict[Topic, int]:
        cluster = self._client.cluster
        cluster.set_topics([topic.value for topic in self._topics])
        self._refresh()
        found = {topic: cluster.partitions_for_topic(topic.value) for topic in self._topics}
        missing = [topic for topic, numbers in found.items() if not numbers]
        if missing:
            raise RetriableError(f"topic {missing[0]} does not exist")
        return {topic: len(numbers) for topic, numbers in found.items()}

    def _new_producer(self) -> tuple[int, int]:
        (node, *_) = [broker.node_id for broker in self._client.cluster.brokers()]
        request = InitProducerIdRequest(
            transactional_id=None, transaction_timeout_ms=0, min_version=0, max_version=1
        )
        response = self._client.send_and_receive(node, request, timeout_ms=_REQUEST_TIMEOUT_MS)
        if response.error_code:
            raise for_code(response.error_code)()
        return response.producer_id, response.producer_epoch

    def _refresh(self) -> None:
        future = self._client.cluster.request_update()
        self._client.poll(timeout_ms=1_000, future=future)

    def _retried(self, attempt: Callable[[], Any]) -> Any:
        """Try until it succeeds, or for `patience_s`."""
        began = time.monotonic()
        while True:
            try:
                return attempt()
            except (KafkaError, OSError) as exc:
                left = self._patience_s - (time.monotonic() - began)
                final = isinstance(exc, KafkaError) and not exc.retriable
                if final or left <= 0:
                    raise unreachable(self._kafka, "publish", exc) from exc
                self._on_trouble(
                    f"Kafka at {self._kafka.bootstrap}: {exc or type(exc).__name__};"
                    f" trying again for {left:.0f} s"
                )
                time.sleep(_RETRY_S)


def _request(batches: Mapping[Place, bytes]) -> Any:
    kind = ProduceRequest.TopicProduceData
    topics: dict[Topic, list[Any]] = {}
    for (topic, number), records in batches.items():
        part = kind.PartitionProduceData(index=number, records=records)
        topics.setdefault(topic, []).append(part)
    data = [kind(name=topic.value, partition_data=parts) for topic, parts in topics.items()]
    return ProduceRequest(
        transactional_id=None,
        acks=_ALL_REPLICAS,
        timeout_ms=_REQUEST_TIMEOUT_MS,
        topic_data=data,
        min_version=3,
        max_version=9,
    )
