"""Where the stream goes on, what it refuses to go on with, and how a rebuild cuts its input."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickhouse.queries import Cut
from lake.archive import RECORD_SCHEMA, archive
from lake.client import connect
from streaming.archiving import archived_cuts, as_records
from streaming.jobs import BadShare
from streaming.rebuild import by_incarnation
from streaming.sinks import BatchReport
from streaming.sources import connection_options, starting_offsets
from streaming.writer_lock import only_writer
from tests.builders import AT, SALES_ID, judged, refused, sold
from tillstream.audit.archive import uncovered
from tillstream.contracts.topics import Topic
from tillstream.errors import ConfigError, IntegrityError, ServiceError
from tillstream.settings import KafkaSettings, LakeSettings

SALES = Topic.SALES.value
NOW, BEFORE = str(UUID(int=2)), str(UUID(int=1))


def starts(kafka: tuple[int, int], *cuts: Cut) -> int:
    starting = starting_offsets({(SALES, 0): kafka}, {SALES: NOW}, cuts)
    return starting[SALES]["0"]


def test_stream_begins_at_the_oldest_record_and_goes_on_at_its_cut() -> None:
    assert starts((3, 10)) == 3
    assert starts((3, 10), Cut(SALES, NOW, 0, 7)) == 7
    assert starts((3, 10), Cut(SALES, NOW, 0, 10)) == 10
    assert starts((3, 10), Cut(SALES, NOW, 0, 3)) == 3


def test_cut_of_a_deleted_topic_or_other_partition_says_nothing() -> None:
    assert starts((0, 10), Cut(SALES, BEFORE, 0, 7)) == 0
    assert starts((0, 10), Cut(SALES, BEFORE, 0, 99), Cut(SALES, NOW, 1, 5)) == 0


def test_records_that_expired_unread_stop_the_stream_unless_that_is_accepted() -> None:
    lost = Cut(SALES, NOW, 0, 7)
    with pytest.raises(IntegrityError, match=r"offsets 7\.\.8 were deleted") as caught:
        starts((9, 20), lost)
    assert "TILLSTREAM_STREAM__ACCEPT_LOSS" in (caught.value.hint or "")
    ranges = {(SALES, 0): (9, 20)}
    assert starting_offsets(ranges, {SALES: NOW}, [lost], accept_loss=True) == {SALES: {"0": 9}}


def test_kafka_that_ends_before_what_is_stored_is_asked_again_later() -> None:
    with pytest.raises(ServiceError, match="up to 10 are stored, but Kafka ends at 10"):
        starts((0, 10), Cut(SALES, NOW, 0, 11))


def test_every_partition_of_every_topic_is_started() -> None:
    ranges = {(SALES, 0): (0, 5), (SALES, 1): (2, 9), ("other", 0): (0, 0)}
    cuts = [Cut(SALES, NOW, 1, 4)]
    assert starting_offsets(ranges, {SALES: NOW, "other": BEFORE}, cuts) == {
        SALES: {"0": 0, "1": 4},
        "other": {"0": 0},
    }


def test_password_cannot_break_out_of_the_login_line() -> None:
    kafka = KafkaSettings.model_validate(
        {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "PLAIN",
            "username": "till",
            "password": 'a"; evil\\',
        }
    )
    line = connection_options(kafka)["kafka.sasl.jaas.config"]
    assert line.endswith('PlainLoginModule required username="till" password="a\\"; evil\\\\";')
    assert "kafka.sasl.mechanism" not in connection_options(KafkaSettings())


def records(*offsets: int) -> pa.Table:
    return as_records(judged(*(sold(offset) for offset in offsets)))


def test_lake_goes_on_where_its_objects_end(tmp_path: Path) -> None:
    lake = connect(LakeSettings(), url=str(tmp_path))

    def cut(*committed: int) -> int:
        cuts = [Cut(SALES, SALES_ID, 0, offset) for offset in committed]
        (found,) = archived_cuts(lake, cuts)
        assert (found.topic, found.topic_id, found.partition) == (SALES, SALES_ID, 0)
        return found.next_offset

    assert archived_cuts(lake, []) == []
    assert cut(4) == 4
    archive(lake, records(0, 1, 2))
    archive(lake, records(3, 4))
    archive(lake, records(8, 9))
    assert cut() == 5
    assert cut(3) == 5, "an object written after the last commit is not written again"
    assert cut(5) == 5
    assert cut(6) == 6, "what was committed is not archived again, even if it is gone"
    assert cut(8) == 10


def test_archived_row_begins_with_the_record_as_received() -> None:
    table = as_records(judged(sold(0), refused(1)))
    assert table.schema.names[: len(RECORD_SCHEMA)] == RECORD_SCHEMA.names
    assert table["value"].to_pylist() == [f"{SALES}-0".encode(), b"\x01poison"]
    assert table["reason"].to_pylist() == [None, "bad_magic_byte"]
    assert table["arrival"].to_pylist() == [AT, AT + timedelta(milliseconds=1)]


def report(counted: int, refused_: int, duplicates: int = 0) -> BatchReport:
    return BatchReport(0, counted=counted, refused=refused_, duplicates=duplicates)


def test_too_many_bad_records_stop_the_stream_once_there_are_enough() -> None:
    share = BadShare(limit=0.5, at_least=10)
    share(report(0, 9))
    with pytest.raises(IntegrityError, match="10 of 10 records were refused, more than 50%") as e:
        share(report(0, 1))
    assert "TILLSTREAM_STREAM__BAD_SHARE_LIMIT" in (e.value.hint or "")


def test_share_at_its_limit_goes_on_and_duplicates_are_not_bad() -> None:
    share = BadShare(limit=0.5, at_least=10)
    share(report(2, 50, duplicates=48))
    share(report(0, 0))
    with pytest.raises(IntegrityError, match="51 of 101"):
        share(report(0, 1))


def archived(topic: Topic, topic_id: int, *offsets: int, hour: int = 0) -> list[dict[str, object]]:
    return [
        {
            "topic": topic.value,
            "topic_id": str(UUID(int=topic_id)),
            "partition": 0,
            "offset": offset,
            "arrival": datetime(2017, 11, 20, hour, tzinfo=UTC) + timedelta(seconds=offset),
            "value": b"",
        }
        for offset in offsets
    ]


def test_rebuild_takes_older_incarnations_first_and_never_two_at_once() -> None:
    rows = archived(Topic.SALES, 9, 0, 1, hour=5)
    rows += archived(Topic.SALES, 3, 7, 8, hour=7) + archived(Topic.INVENTORY, 4, 0, hour=6)
    parts = list(by_incarnation(pa.Table.from_pylist(rows, schema=RECORD_SCHEMA)))
    assert [ids for _, ids in parts] == [
        {Topic.SALES: UUID(int=9), Topic.INVENTORY: UUID(int=4)},
        {Topic.SALES: UUID(int=3)},
    ]
    assert [sorted(part["offset"].to_pylist()) for part, _ in parts] == [[0, 0, 1], [7, 8]]


def test_rebuild_of_nothing_is_nothing() -> None:
    assert list(by_incarnation(RECORD_SCHEMA.empty_table())) == []


@dataclass(frozen=True, slots=True)
class Held:
    ranges: list[tuple[int, int]]
    offsets: set[int]


@st.composite
def held_ranges(draw: st.DrawFn) -> Held:
    """Ascending, disjoint ranges as the lake's coverage reports them."""
    offsets = draw(st.sets(st.integers(0, 40)))
    ranges: list[tuple[int, int]] = []
    for offset in sorted(offsets):
        if ranges and ranges[-1][1] == offset - 1:
            ranges[-1] = (ranges[-1][0], offset)
        else:
            ranges.append((offset, offset))
    return Held(ranges, offsets)


@given(held_ranges(), st.integers(0, 45), st.integers(-1, 45))
def test_uncovered_ranges_are_what_is_not_held(held: Held, first: int, last: int) -> None:
    gaps = list(uncovered(held.ranges, first, last))
    missing = [offset for a, z in gaps for offset in range(a, z + 1)]
    assert missing == sorted(set(range(first, last + 1)) - held.offsets)
    assert all(a <= z for a, z in gaps)


def test_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with only_writer(tmp_path, "a"):
        with (
            pytest.raises(ConfigError, match="writing to database 'a'"),
            only_writer(tmp_path, "a"),
        ):
            pass
        with only_writer(tmp_path, "b"):
            pass
    with only_writer(tmp_path, "a"):
        pass
