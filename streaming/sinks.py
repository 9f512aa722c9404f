"""One batch into the warehouse: exactly once in effect. It lands, followers see it, and only then
is it committed."""

import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.damage import put_aside
from clickhouse.writer import insert
from producers.topics import TopicInspector
from streaming.batch import Batch, OffsetRange
from streaming.enrich import Dimensions
from streaming.known import KnownEvents
from streaming.landing import Landed, Landing, Stopwatch
from streaming.recovery import recover
from streaming.rows import LIVE, commit_rows, cuts_after
from tillstream.errors import ServiceError

# How often to ask whether the warehouse had to put a part aside.
_LOOK_EVERY_S = 60.0


class Follower(ABC):
    """Sees each batch after it is stored and before it is committed; after a crash, again."""

    @property
    def failure(self) -> Exception | None:
        """What went wrong, since `open`, with work that was put off."""
        return None

    def open(self) -> None:  # noqa: B027
        """Load what was known when the stream last stopped."""

    def stored(self, winners: pa.Table) -> None:  # noqa: B027
        """Before each batch: what of it was not stored before, and is now."""

    @abstractmethod
    def __call__(self, batch: Batch, dimensions: Dimensions) -> None: ...

    def settle(self) -> None:  # noqa: B027
        """Finish what was put off."""

    def close(self) -> None:  # noqa: B027
        """End what was begun."""


class TopicRecreated(ServiceError):
    """A topic was deleted and created again under the same name: its offsets start over."""


def must_still_be(inspector: TopicInspector, ids: Mapping[str, uuid.UUID]) -> None:
    """Asked after reading: if no id has changed by now, every record read came from the topic we
    think it did, since an id never comes back. Raises TopicRecreated."""
    now = inspector.topic_ids(list(ids))
    changed = [topic for topic, topic_id in ids.items() if now.get(topic) != topic_id]
    if changed:
        raise TopicRecreated(f"{', '.join(changed)} was deleted and created again")


@dataclass(slots=True)
class BatchReport:
    """What became of one batch, and the seconds each step took."""

    batch_id: int
    counted: int = 0
    duplicates: int = 0
    refused: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    ranges: tuple[OffsetRange, ...] = ()
    # Of a batch in the warehouse: for those who count what it held.
    batch: Batch | None = field(default=None, repr=False, compare=False)
    ended_at_s: float = field(default_factory=time.time)

    @property
    def records(self) -> int:
        return self.counted + self.duplicates + self.refused


class WarehouseSink:
    """The only writer of facts."""

    def __init__(
        self,
        client: Client,
        *,
        query: str = LIVE,
        deduplicate: bool = True,
        known: KnownEvents | None = None,
        followers: tuple[Follower, ...] = (),
    ) -> None:
        self.landing = Landing(client, deduplicate=deduplicate, known=known, on_stored=self._stored)
        self._client = client
        self._query = query
        self._followers = followers
        self._look_at_s = time.monotonic() + _LOOK_EVERY_S

    def open(self) -> None:
        """Recover, then load what batches are judged by. Call before the first batch and after
        every failed one."""
        high_water = recover(self._client, self._query).high_water
        self.landing.open(high_water, Dimensions.load(self._client))
        for follower in self._followers:
            follower.open()

    @property
    def failure(self) -> Exception | None:
        """What went wrong, since `open`, with work that followers put off."""
        return next((one.failure for one in self._followers if one.failure), None)

    def settle(self) -> None:
        """Wait until the followers have finished with what was written."""
        for follower in self._followers:
            follower.settle()

    def close(self) -> None:
        for follower in self._followers:
            follower.close()
        self.landing.close()

    def write(
        self, decoded: pa.Table, ids: Mapping[str, uuid.UUID], *, batch_id: int
    ) -> BatchReport:
        """Store one batch of decoded records whose topics have the UUIDs `ids`."""
        if decoded.num_rows == 0:
            return BatchReport(batch_id)
        return self.finish(self.landing.land(decoded, ids), batch_id=batch_id)

    def finish(self, landed: Landed, *, batch_id: int) -> BatchReport:
        """Let the followers see a batch that has landed, and commit it."""
        batch = landed.batch
        clock = Stopwatch()
        for follower in self._followers:
            follower(batch, self.landing.dimensions)
        clock.lap("follow")
        rows = commit_rows(self._query, cuts_after(batch.ranges), batch_id=batch_id)
        insert(self._client, "stream_commits", rows)
        clock.lap("commit")
        self._look_for_damage()
        return BatchReport(
            batch_id,
            counted=batch.winners.num_rows,
            duplicates=batch.duplicates.num_rows,
            refused=batch.refused.num_rows,
            seconds={**landed.seconds, **clock.seconds},
            ranges=batch.ranges,
            batch=batch,
        )

    def _stored(self, winners: pa.Table) -> None:
        for follower in self._followers:
            follower.stored(winners)

    def _look_for_damage(self) -> None:
        """Raises ServiceError when rows have to be derived again, which recovery does."""
        if time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + _LOOK_EVERY_S
        damaged = put_aside(self._client)
        if damaged and all(part.is_derived for part in damaged):
            tables = ", ".join(sorted({part.table for part in damaged}))
            raise ServiceError(f"the warehouse could not read a part of {tables}: recovering")
