"""Small objects of the lake become large ones: nothing lost, nothing doubled, if killed too."""

import os
import time
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from lake.archive import DAY_MS, RECORD_SCHEMA, archive
from lake.client import Lake, connect
from lake.compaction import compact
from lake.coverage import archived, coverage
from lake.paths import ObjectName
from lake.reader import read_ranges
from tillstream.contracts.topics import Topic
from tillstream.settings import LakeSettings

DAY = date(2026, 3, 10)
DAY_START_MS = 1_773_100_800_000


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return connect(LakeSettings(), url=tmp_path.as_uri())


def records(first: int, last: int, *, partition: int = 0, day: int = 0) -> pa.Table:
    offsets = range(first, last + 1)
    columns = {
        "topic": ["retail-sales-transactions"] * len(offsets),
        "topic_id": ["t1"] * len(offsets),
        "partition": [partition] * len(offsets),
        "offset": list(offsets),
        "arrival": [DAY_START_MS + day * DAY_MS + n for n in offsets],
        "key": [b"S1"] * len(offsets),
        "value": [f"{partition}:{n}".encode() for n in offsets],
    }
    return pa.Table.from_pydict(
        {name: pa.array(columns[name]).cast(RECORD_SCHEMA.field(name).type) for name in columns},
        schema=RECORD_SCHEMA,
    )


def everything(lake: Lake) -> list[tuple[int, int, bytes]]:
    return sorted(
        (row["partition"], row["offset"], row["value"])
        for table in read_ranges(lake, batch_rows=1000)
        for row in table.to_pylist()
    )


def names(lake: Lake) -> list[tuple[int, int, int]]:
    return [(n.partition, n.first_offset, n.last_offset) for n, _ in archived(lake)[0]]


def test_neighbours_become_one_object_with_the_same_records(lake: Lake) -> None:
    for first in (0, 10, 20):
        archive(lake, records(first, first + 9))
    archive(lake, records(40, 44))  # after a gap, which a name must not promise
    archive(lake, records(0, 4, partition=1))
    before = everything(lake)
    done = compact(lake, before=date(2026, 3, 11))
    assert names(lake) == [(0, 0, 29), (0, 40, 44), (1, 0, 4)]
    assert everything(lake) == before
    assert (done.objects_before, done.objects_after, done.records) == (3, 1, 30)
    assert not coverage(lake, count_rows=True).damaged
    assert compact(lake, before=date(2026, 3, 11)).objects_before == 0


def test_the_day_that_goes_on_and_other_days_stay_apart(lake: Lake) -> None:
    for day in (0, 1):
        archive(lake, records(day * 20, day * 20 + 9, day=day))
        archive(lake, records(day * 20 + 10, day * 20 + 19, day=day))
    compact(lake, before=date(2026, 3, 11))
    assert names(lake) == [(0, 0, 19), (0, 20, 29), (0, 30, 39)]


def test_overlapping_objects_of_a_regrouped_retry_count_once(lake: Lake) -> None:
    archive(lake, records(0, 9))
    archive(lake, records(5, 14))
    compact(lake, before=date(2026, 3, 11))
    assert names(lake) == [(0, 0, 14)]
    assert [offset for _, offset, _ in everything(lake)] == list(range(15))


def test_killed_before_the_old_objects_are_gone_it_is_finished_the_next_time(lake: Lake) -> None:
    for first in (0, 10, 20):
        archive(lake, records(first, first + 9))
    before = everything(lake)

    class Killed(BaseException):
        pass

    def die(_: ObjectName) -> None:
        raise Killed

    with pytest.raises(Killed):
        compact(lake, before=date(2026, 3, 11), after_write=die)
    assert len(names(lake)) == 4
    assert everything(lake) == before
    compact(lake, before=date(2026, 3, 11))
    assert names(lake) == [(0, 0, 29)]
    assert everything(lake) == before


def test_a_damaged_object_and_its_neighbours_are_left_and_named(lake: Lake, tmp_path: Path) -> None:
    archive(lake, records(0, 9))
    archive(lake, records(10, 19))
    half = ObjectName(Topic.SALES, "t1", 0, 10, 19, DAY)
    path = tmp_path / str(half)
    path.write_bytes(path.read_bytes()[:200])
    done = compact(lake, before=date(2026, 3, 11))
    assert len(names(lake)) == 2
    assert len(done.damaged) == 1
    assert str(half) in done.damaged[0]


def test_what_a_killed_writer_left_is_removed_and_what_one_writes_now_is_not(
    lake: Lake, tmp_path: Path
) -> None:
    archive(lake, records(0, 9))
    folder = (tmp_path / str(ObjectName(Topic.SALES, "t1", 0, 0, 9, DAY))).parent
    old, new = folder / ".old.tmp", folder / ".new.tmp"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    assert compact(lake, before=date(2026, 3, 11)).abandoned == 1
    assert (old.exists(), new.exists()) == (False, True)
