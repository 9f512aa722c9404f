"""Decoded events of the past into lake and warehouse, in the rows the stream would have written.

The rows carry the coordinates of a topic that never was: its id is `history:<run>`, its partitions
are numbered through all source topics, and its offsets count from 0. Days are written one after
another, and a day's commit comes last. So a run that was interrupted goes on where it ended: days
that are committed are left out, and of the one that was under way only what is missing is written.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import pyarrow as pa

from clickhouse import queries
from clickhouse.client import Client
from clickhouse.writer import insert
from lake.archive import archive
from lake.client import Lake
from streaming.archiving import LAKE, as_records
from streaming.batch import Batch, offset_ranges
from streaming.enrich import Dimensions
from streaming.landing import Landing, Stopwatch
from streaming.recovery import repair
from streaming.rows import LIVE, commit_rows, cuts_after
from streaming.watch import WATCH
from tillstream.contracts.topics import HISTORY_PREFIX, SOURCE_TOPICS, TOPIC_SPECS, Topic
from tillstream.errors import ConfigError

Place = tuple[Topic, int]

# The first partition of each topic: one id stands for all four, so they must not share numbers.
_FIRST_PARTITION: Final[Mapping[Topic, int]] = {
    topic: sum(TOPIC_SPECS[before].partitions for before in SOURCE_TOPICS[:at])
    for at, topic in enumerate(SOURCE_TOPICS)
}


class HistoryWriter:
    """Writes the days of one run. For one thread; opens by putting right what an earlier, killed
    run of the same name left half done. Dimensions must be loaded before.

    Raises ConfigError when the warehouse holds the history of another run: it would be counted
    beside this one.
    """

    def __init__(self, client: Client, lake: Lake, run: str) -> None:
        self._client = client
        self._lake = lake
        self.topic_id = HISTORY_PREFIX + run
        self._next: dict[Place, int] = {}
        self._days = 0
        committed = [
            cut for cut in queries.committed_cuts(client, LIVE) if self._is_ours(cut.topic_id)
        ]
        high_water = {
            place: offset
            for place, offset in queries.highest_offsets(client).items()
            if self._is_ours(place[0])
        }
        repair(client, high_water, committed)
        self._cuts = {cut.partition: cut.next_offset for cut in committed}
        self._landing = Landing(client)
        self._landing.open(high_water, Dimensions.load(client))
        self._archiving = ThreadPoolExecutor(max_workers=1, thread_name_prefix="archive")

    def write(self, tables: Mapping[Topic, pa.Table]) -> int:
        """Store a day's rows (DECODED, in order of arrival, none before an earlier day's) and
        commit them. Returns how many were not stored before. Raises ServiceError."""
        day = pa.concat_tables([self._placed(topic, rows) for topic, rows in tables.items()])
        if not day.num_rows:
            return 0
        ranges = offset_ranges(day)
        if all(r.last < self._cuts.get(r.partition, 0) for r in ranges):
            return 0
        # Beside the inserts: Parquet takes as long as they do.
        archived = self._archiving.submit(archive, self._lake, as_records(day))
        none = day.slice(0, 0)
        fresh = self._landing.store(Batch(ranges, day, none, none), Stopwatch())
        archived.result()
        cuts = cuts_after(ranges)
        # Nobody is to be woken about the past: it counts as watched.
        for query in (LAKE, WATCH, LIVE):
            insert(self._client, "stream_commits", commit_rows(query, cuts, batch_id=self._days))
        self._days += 1
        return int(fresh.winners.num_rows)

    def close(self) -> None:
        self._landing.close()
        self._archiving.shutdown(wait=True)

    def _is_ours(self, topic_id: str) -> bool:
        if topic_id.startswith(HISTORY_PREFIX) and topic_id != self.topic_id:
            raise ConfigError(
                f"database {self._client.database!r} holds another history already: "
                f"{topic_id.removeprefix(HISTORY_PREFIX)}",
                hint="write this one into a database or home of its own",
            )
        return topic_id == self.topic_id

    def _placed(self, topic: Topic, rows: pa.Table) -> pa.Table:
        """Rows with coordinates: a store's are all in one partition, in order of arrival."""
        count = TOPIC_SPECS[topic].partitions
        stores = rows["store_id"].combine_chunks().dictionary_encode()
        numbers = np.array([int(name[1:]) % count for name in stores.dictionary.to_pylist()])
        partition = numbers[stores.indices.to_numpy()] if rows.num_rows else np.empty(0, np.int64)
        arrival = rows["arrival"].cast(pa.int64()).to_numpy()
        order = np.lexsort((arrival, partition))
        partition = partition[order]
        offset = np.empty(len(order), dtype=np.int64)
        for number in range(count):
            here = partition == number
            start = self._next.get((topic, number), 0)
            offset[here] = start + np.arange(int(here.sum()))
            self._next[topic, number] = start + int(here.sum())
        placed = rows.take(pa.array(order))
        for name, values, type_ in (
            ("partition", partition + _FIRST_PARTITION[topic], pa.int32()),
            ("offset", offset, pa.int64()),
        ):
            at = placed.schema.get_field_index(name)
            placed = placed.set_column(at, name, pa.array(values, type_))
        return placed.append_column("topic_id", pa.repeat(pa.scalar(self.topic_id), len(order)))
