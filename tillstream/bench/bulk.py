"""Single messages into whole batches, which cost the machine that is measured little."""

from producers.bulk import BulkPublisher, Place
from tillstream.bench.traffic import Message
from tillstream.contracts.topics import Topic
from tillstream.settings import KafkaSettings

_BATCH_BYTES = 900_000  # uncompressed; the broker takes a megabyte
# What a record needs besides its key and value, at most.
_RECORD_BYTES = 20


class BulkSender:
    """Collects messages and sends them on `flush`, or when a partition has a batch full.

    Records of one key keep their order. Raises ServiceError when the broker does not store them.
    """

    def __init__(self, kafka: KafkaSettings, topics: tuple[Topic, ...]) -> None:
        self._publisher = BulkPublisher(kafka, topics)
        self._places: dict[tuple[Topic, bytes], Place] = {}
        self._waiting: dict[Place, tuple[list[bytes], list[bytes]]] = {}
        self._bytes: dict[Place, int] = {}

    def send(self, message: Message) -> None:
        key = (message.topic, message.key)
        place = self._places.get(key)
        if place is None:
            number = self._publisher.partition_of(message.topic, message.key)
            place = self._places[key] = (message.topic, number)
        size = len(message.key) + len(message.value) + _RECORD_BYTES
        if self._bytes.get(place, 0) + size > _BATCH_BYTES:
            self.flush()
        keys, values = self._waiting.setdefault(place, ([], []))
        keys.append(message.key)
        values.append(message.value)
        self._bytes[place] = self._bytes.get(place, 0) + size

    def flush(self) -> None:
        """Send what was collected and wait until all replicas have it."""
        waiting, self._waiting = self._waiting, {}
        self._bytes.clear()
        if waiting:
            self._publisher.send(waiting)

    def close(self) -> None:
        self._publisher.close()
