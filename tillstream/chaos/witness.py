"""What Kafka was seen to hold, read directly; some of it before it was deleted on purpose."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from producers.reader import read_records
from producers.topics import topic_ids
from tillstream.contracts.topics import SOURCE_TOPICS, Topic
from tillstream.settings import KafkaSettings

Place = tuple[str, int, int]


class Seen(NamedTuple):
    """One record. `arrival_ms` is the broker's append time."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    arrival_ms: int
    key: bytes | None
    value: bytes | None

    @property
    def place(self) -> Place:
        return (self.topic_id, self.partition, self.offset)


@dataclass(slots=True)
class Witness:
    """Every record of the source topics ever stored, older incarnations of a topic first."""

    kafka: KafkaSettings
    _kept: dict[Place, Seen] = field(default_factory=dict)

    def keep(self, topic: Topic, *, below: Mapping[int, int] | None = None) -> int:
        """Remember a topic's records, all or those below an offset in each partition, because they
        are about to be deleted. Returns how many are new."""
        before = len(self._kept)
        for seen in self._read(topic):
            if below is None or seen.offset < below.get(seen.partition, 0):
                self._kept[seen.place] = seen
        return len(self._kept) - before

    def records(self) -> list[Seen]:
        """All that was kept and all that Kafka holds now, each record once."""
        found = dict(self._kept)
        for topic in SOURCE_TOPICS:
            for seen in self._read(topic):
                found.setdefault(seen.place, seen)
        return list(found.values())

    def _read(self, topic: Topic) -> list[Seen]:
        name = topic.value
        topic_id = str(topic_ids(self.kafka, [name])[name])
        return [
            Seen(name, topic_id, one.partition, one.offset, one.timestamp_ms, one.key, one.value)
            for one in read_records(self.kafka, name)
        ]
