"""What an administrator can do to a topic, by accident or by retention."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, TopicPartition

from clickhouse.queries import committed_cuts
from producers.connection import client_options, told_as_service_error
from producers.topics import offset_ranges, topic_ids
from tillstream.audit.verify import Parts
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError
from tillstream.settings import KafkaSettings

_GONE_S = 60.0
_POLL_S = 0.2


def delete(kafka: KafkaSettings, topic: Topic) -> None:
    """Delete it and wait until it is gone. Raises ServiceError."""
    with _admin(kafka, f"delete {topic}") as admin:
        admin.delete_topics([topic.value])
    _wait(lambda: topic.value not in topic_ids(kafka, [topic.value]), f"{topic} is still there")


def add_partition(kafka: KafkaSettings, topic: Topic) -> int:
    """One more partition; how many there are now. Raises ServiceError."""
    count = len(ends(kafka, topic)) + 1
    with _admin(kafka, f"add partitions to {topic}") as admin:
        admin.create_partitions({topic.value: count})
    _wait(lambda: len(ends(kafka, topic)) == count, f"{topic} has no new partition")
    return count


def delete_below(kafka: KafkaSettings, topic: Topic, below: Mapping[int, int]) -> int:
    """Delete the records of each partition below an offset, as retention does; how many."""
    starts = {number: start for (_, number), (start, _) in _ranges(kafka, topic).items()}
    doomed = {number: upto for number, upto in below.items() if upto > starts.get(number, 0)}
    if not doomed:
        return 0
    with _admin(kafka, f"delete records of {topic}") as admin:
        admin.delete_records(
            {TopicPartition(topic.value, number): upto for number, upto in doomed.items()}
        )
    return sum(upto - starts[number] for number, upto in doomed.items())


def ends(kafka: KafkaSettings, topic: Topic) -> dict[int, int]:
    """The next offset of each partition."""
    return {number: end for (_, number), (_, end) in _ranges(kafka, topic).items()}


def archived_below(parts: Parts, topic: Topic) -> dict[int, int]:
    """Up to which offset each partition is both stored and archived."""
    topic_id = str(parts.inspector.topic_ids([topic.value])[topic.value])
    cuts = [
        {
            cut.partition: cut.next_offset
            for cut in committed_cuts(parts.client, query)
            if cut.topic_id == topic_id
        }
        for query in ("live", "lake")
    ]
    return {number: min(cut[number] for cut in cuts) for number in cuts[0].keys() & cuts[1].keys()}


def _ranges(kafka: KafkaSettings, topic: Topic) -> dict[tuple[str, int], tuple[int, int]]:
    return offset_ranges(kafka, [topic.value])


@contextmanager
def _admin(kafka: KafkaSettings, doing: str) -> Iterator[Any]:
    with told_as_service_error(kafka, doing):
        admin = KafkaAdminClient(client_id="tillstream-chaos", **client_options(kafka))
        try:
            yield admin
        finally:
            admin.close()


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _GONE_S
    while not condition():
        if time.monotonic() > deadline:
            raise ServiceError(f"after {_GONE_S:.0f} s: {otherwise}")
        time.sleep(_POLL_S)
