"""Following one partition record by record, for those who must know what came before they go on."""

import time
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from producers.connection import unreachable
from producers.reader import consumer_of
from producers.records import RawRecord
from producers.topics import TopicInspector
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import KafkaSettings

_BEHIND_MS = 100
# With 0 the client would only ask, and not wait for what is there.
_LOOK_MS = 5


class Follower:
    """The records of a topic's partition 0 in order. Not for several threads at once.

    Building it raises ConfigError when there is no such topic, ServiceError when the broker cannot
    be reached. `topic_id` is Kafka's own UUID of the topic at that time.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._doing = f"follow {topic}"
        self._place = TopicPartition(topic, 0)
        with TopicInspector(kafka) as inspector:
            found = inspector.topic_ids([topic])
            ranges = inspector.offset_ranges([topic])
        if topic not in found:
            raise ConfigError(
                f"the broker has no topic {topic}",
                hint="`tillstream provision` creates the platform's topics",
            )
        self.topic_id = str(found[topic])
        first, end = ranges[topic, 0]
        self._next, self._end = first, end
        self._consumer: Any = consumer_of(kafka, self._doing)
        self._consumer.assign([self._place])
        self._consumer.seek(self._place, self._next)

    def skip_to(self, offset: int) -> None:
        """Go on from there; from the first record there is, when that has expired."""
        self._next = min(max(offset, self._next), self._end)
        self._consumer.seek(self._place, self._next)

    def read(self, *, up_to: int | None = None, timeout_s: float = 15.0) -> list[RawRecord]:
        """The records that came since the last call: at least those below `up_to` (an offset that
        is known to be written), or what there is now. Raises ServiceError when `up_to` is not
        reached in time; what was read until then comes with the next call."""
        wanted = self._end if up_to is None else up_to
        self._end = 0
        first = self._next
        try:
            return self._read(wanted, deadline=time.monotonic() + timeout_s)
        except (KafkaError, ServiceError) as exc:
            # Nothing may be skipped: the next call reads these again.
            self._next = first
            self._consumer.seek(self._place, first)
            if isinstance(exc, ServiceError):
                raise
            raise unreachable(self._kafka, self._doing, exc) from exc

    def _read(self, wanted: int, *, deadline: float) -> list[RawRecord]:
        records: list[RawRecord] = []
        while True:
            behind = self._next < wanted
            batches = self._consumer.poll(timeout_ms=_BEHIND_MS if behind else _LOOK_MS)
            for record in batches.get(self._place, ()):
                key, value = record.key, record.value
                at = (record.topic, record.partition, record.offset, record.timestamp)
                records.append(RawRecord(*at, key, value))
            self._next = self._consumer.position(self._place)
            if self._next >= wanted:
                return records
            if time.monotonic() > deadline:
                raise unreachable(self._kafka, self._doing, f"offset {wanted} does not come")

    def close(self) -> None:
        self._consumer.close(autocommit=False)
