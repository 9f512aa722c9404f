"""Refused records go to the quarantine topic too, for whoever owns the till that sent them."""

from dataclasses import dataclass

from producers.publisher import Publisher
from streaming.batch import Batch
from streaming.enrich import Dimensions
from streaming.sinks import Follower
from tillstream.contracts.topics import Topic


@dataclass(frozen=True, slots=True)
class QuarantineOutbox(Follower):
    """A follower of the warehouse sink: at least once, for a batch tried again is published
    again; its coordinates in the source tell."""

    publisher: Publisher

    def __call__(self, batch: Batch, dimensions: Dimensions) -> None:
        columns = ["topic", "topic_id", "partition", "offset", "reason", "detail", "key", "value"]
        for row in batch.refused.select([*columns, "arrival"]).to_pylist():
            self.publisher.publish(Topic.QUARANTINE, row)
        if batch.refused.num_rows:
            self.publisher.flush()
