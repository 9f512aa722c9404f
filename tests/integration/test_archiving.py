"""The lake beside the stream: what was not archived is read again, whatever went wrong."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from clickhouse.client import Client
from clickhouse.queries import Cut, committed_cuts
from lake.archive import archive
from lake.client import Lake
from lake.client import connect as connect_lake
from lake.coverage import coverage
from streaming.archiving import LAKE, Archiver, Fill, as_records
from streaming.batch import OffsetRange
from tests.builders import SALES_ID, TOPIC_IDS, decoded, judged, sold
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tillstream.contracts.topics import Topic
from tillstream.errors import IntegrityError, ServiceError
from tillstream.settings import LakeSettings

pytestmark = pytest.mark.integration

_SOON_S = 20.0


@pytest.fixture
def client(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "lake") as client:
        yield client


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return connect_lake(LakeSettings(), url=(tmp_path / "lake").as_uri())


def records(*offsets: int) -> pa.Table:
    return decoded(*(sold(offset) for offset in offsets))


def starting_at(cuts: Sequence[Cut]) -> dict[tuple[str, str, int], int]:
    known = {cut.partition: cut.next_offset for cut in cuts if cut.topic_id == SALES_ID}
    return {(Topic.SALES.value, SALES_ID, 0): known.get(0, 0)}


def archived(lake: Lake) -> list[tuple[int, int]]:
    return [
        (piece.first, piece.last) for held in coverage(lake).partitions for piece in held.ranges
    ]


class _Kafka:
    """Fills gaps from records it makes up, and remembers which."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.asked: list[tuple[int, int]] = []

    def __call__(self, gaps: Sequence[OffsetRange]) -> Iterator[tuple[OffsetRange, ...]]:
        for gap in gaps:
            self.asked.append((gap.first, gap.last))
            archive(
                self.lake, as_records(judged(*(sold(n) for n in range(gap.first, gap.last + 1))))
            )
            yield (gap,)


def start(
    client: Client,
    lake: Lake,
    fill: Fill,
    *,
    at: int = 0,
    states: list[str] | None = None,
    places: Callable[[Sequence[Cut]], dict[tuple[str, str, int], int]] = starting_at,
) -> Archiver:
    archiver = Archiver(
        client,
        lake,
        trigger_s=0.05,
        fill=fill,
        starting_at=places,
        on_state=lambda _name, state, _reason: (states if states is not None else []).append(state),
    )
    archiver.open({(SALES_ID, 0): at})
    return archiver


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SOON_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_batches_are_archived_from_memory_and_committed(client: Client, lake: Lake) -> None:
    kafka = _Kafka(lake)
    archiver = start(client, lake, kafka)
    archiver.put(records(0, 1), TOPIC_IDS)
    archiver.put(records(2, 3), TOPIC_IDS)
    archiver.close()
    assert archived(lake) == [(0, 3)]
    assert kafka.asked == []
    assert committed_cuts(client, LAKE) == [Cut(Topic.SALES.value, SALES_ID, 0, 4)]


def test_what_was_stored_before_the_start_is_read_again(client: Client, lake: Lake) -> None:
    archive(lake, as_records(judged(sold(0), sold(1))))
    kafka = _Kafka(lake)
    archiver = start(client, lake, kafka, at=5)
    archiver.put(records(5), TOPIC_IDS)
    archiver.close()
    assert kafka.asked == [(2, 4)]
    assert archived(lake) == [(0, 5)]


def test_records_read_twice_after_a_restart_are_archived_once(client: Client, lake: Lake) -> None:
    archiver = start(client, lake, _Kafka(lake))
    archiver.put(records(0, 1, 2), TOPIC_IDS)
    archiver.open({(SALES_ID, 0): 1})
    archiver.put(records(1, 2, 3), TOPIC_IDS)
    archiver.close()
    assert archived(lake) == [(0, 3)]
    assert sum(held.objects for held in coverage(lake).partitions) <= 2
    assert not [held.overlaps for held in coverage(lake).partitions if held.overlaps]


def test_a_lake_that_was_away_is_caught_up_with_from_kafka(
    client: Client, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = threading.Event()
    away.set()
    write = Lake.write

    def refuse(self: Lake, name: str, table: pa.Table) -> int:
        if away.is_set():
            raise ServiceError("the lake is away")
        return write(self, name, table)

    monkeypatch.setattr(Lake, "write", refuse)
    states: list[str] = []
    kafka = _Kafka(lake)
    archiver = start(client, lake, kafka, states=states)
    archiver.put(records(0, 1), TOPIC_IDS)
    eventually(lambda: "retrying" in states)
    archiver.put(records(2), TOPIC_IDS)
    away.clear()
    eventually(lambda: archived(lake) == [(0, 2)])
    archiver.close()
    assert states[-1] == "running"
    assert (0, 1) in kafka.asked
    assert committed_cuts(client, LAKE) == [Cut(Topic.SALES.value, SALES_ID, 0, 3)]


def test_records_that_kafka_deleted_before_they_were_archived_stop_it(
    client: Client, lake: Lake
) -> None:
    def lost(_: Sequence[Cut]) -> dict[tuple[str, str, int], int]:
        raise IntegrityError("offsets 0..9 were deleted")

    archiver = start(client, lake, _Kafka(lake), places=lost)
    archiver.put(records(10), TOPIC_IDS)
    eventually(lambda: archiver.fatal is not None)
    assert str(archiver.fatal) == "offsets 0..9 were deleted"
    archiver.close()
