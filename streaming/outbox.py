"""Refused records go to the quarantine topic too, for whoever owns the till that sent them."""

from dataclasses import dataclass

from producers.publisher import Publisher
from streaming.batch import Batch
from streaming.enrich import Dimensions
from tillstream.contracts.topics import Topic


@dataclass(frozen=True, slots=True)
class QuarantineOutbox:
    """A follower of the warehouse sink: at least once, identified by the source coordinates."""

    publisher: Publisher

    def open(self) -> None:
        """Nothing to remember: a retried batch is published again."""

    def __call__(self, batch: Batch, dimensions: Dimensions) -> None:
        columns = ["topic", "topic_id", "partition", "offset", "reason", "detail", "key", "value"]
        for row in batch.refused.select([*columns, "arrival"]).to_pylist():
            self.publisher.publish(Topic.QUARANTINE, row)
        if batch.refused.num_rows:
            self.publisher.flush()

    def settle(self) -> None:
        """Nothing is put off."""

    def close(self) -> None:
        """The publisher is somebody else's to close."""
