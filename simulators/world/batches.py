"""From messages to Kafka's partitions and back to ledger and manifest."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from simulators.ledger import Ledger
from simulators.world.faults import FIRST_REFUSED
from simulators.world.messages import Messages, store_ids
from simulators.world.truth import TruthWriter
from tillstream.contracts.topics import SOURCE_TOPICS, Topic

Ints = npt.NDArray[np.int64]
Place = tuple[Topic, int]

# Before compression; the broker takes a megabyte.
_MOST_BYTES: Final = 800_000
_RECORD_OVERHEAD: Final = 24


class Sender(Protocol):
    """What a run needs of `producers.bulk.BulkPublisher`."""

    def partition_of(self, topic: Topic, key: bytes) -> int: ...

    def send(
        self, batches: Mapping[Place, tuple[Sequence[bytes], Sequence[bytes]]]
    ) -> dict[Place, int]: ...


class Outbox:
    """Sends messages in order, with every one in the ledger before it is on its way, and once more
    when Kafka has it. Counts of `stored` are by topic, as SOURCE_TOPICS has them."""

    def __init__(
        self, sender: Sender, ledger: Ledger, truth: TruthWriter, stores: Sequence[int]
    ) -> None:
        self._sender = sender
        self._ledger = ledger
        self._truth = truth
        ids = store_ids(np.array(stores, dtype=np.int64))
        self._keys = {number: ids[row].tobytes() for row, number in enumerate(stores)}
        self._partition = np.zeros((len(SOURCE_TOPICS), max(stores, default=0) + 1), np.int64)
        for at, topic in enumerate(SOURCE_TOPICS):
            for number, key in self._keys.items():
                self._partition[at, number] = sender.partition_of(topic, key)
        self.stored = np.zeros(len(SOURCE_TOPICS), dtype=np.int64)
        self.attempted = 0
        self.faults = 0

    def send(self, messages: Messages) -> None:
        """Raises ServiceError when some are not known to be stored; the ledger says which are."""
        for at, topic in enumerate(SOURCE_TOPICS):
            here = messages.topic == at
            if here.any():
                self._ledger.attempted_all(topic, messages.identity[here])
        self.attempted += len(messages)
        partition = self._partition[messages.topic, messages.store]
        for part in rounds(messages, partition):
            batches = {
                place: (
                    [self._keys[number] for number in messages.store[rows].tolist()],
                    [messages.value[row] for row in rows.tolist()],
                )
                for place, rows in part.items()
            }
            offsets = self._sender.send(batches)
            for place, rows in part.items():
                self._settled(messages, place, rows, offsets[place])

    def _settled(self, messages: Messages, place: Place, rows: Ints, first: int) -> None:
        topic, number = place
        offset = first + np.arange(len(rows))
        fault = messages.fault[rows]
        refused = fault >= FIRST_REFUSED
        for spoiled in (False, True):
            these = refused == spoiled
            if these.any():
                self._ledger.stored_all(
                    topic,
                    messages.identity[rows[these]],
                    number,
                    offset[these],
                    spoiled=spoiled,
                )
        wrong = fault > 0
        if wrong.any():
            count = int(wrong.sum())
            self._truth.faults(messages.take(rows[wrong]), np.full(count, number), offset[wrong])
            self.faults += count
        self.stored[SOURCE_TOPICS.index(topic)] += len(rows)


def rounds(messages: Messages, partition: Ints) -> Iterator[dict[Place, Ints]]:
    """Rows by partition, in order, cut so that no partition has more than a batch at a time."""
    size = np.fromiter(map(len, messages.value), dtype=np.int64, count=len(messages))
    place = messages.topic * 100_000 + partition
    order = np.argsort(place, kind="stable")
    cuts = np.flatnonzero(np.diff(place[order])) + 1
    left = {}
    for rows in np.split(order, cuts):
        name = (SOURCE_TOPICS[int(messages.topic[rows[0]])], int(partition[rows[0]]))
        batch = np.cumsum(size[rows] + _RECORD_OVERHEAD) // _MOST_BYTES
        left[name] = np.split(rows, np.flatnonzero(np.diff(batch)) + 1)
    while left:
        yield {name: parts[0] for name, parts in left.items()}
        left = {name: parts[1:] for name, parts in left.items() if len(parts) > 1}
