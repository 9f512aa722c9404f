"""Batches landed by executors: the same tables as the driver makes, whatever is interrupted."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import pyarrow as pa
import pytest
from pyspark import TaskContext
from pyspark.sql import DataFrame

from clickhouse import queries
from clickhouse.client import Client, connect
from clickhouse.stored import running_inserts
from streaming import executors, landing
from streaming.anomalies import AnomalyMarks
from streaming.batch import Batch
from streaming.executors import ExecutorDestination, as_landed, from_landed
from streaming.fencing import Superseded, require_writer, take_over
from streaming.jobs import Source
from streaming.recovery import recover
from streaming.schemas import DECODED, Rules
from streaming.sinks import BatchReport, WarehouseSink
from streaming.stock import Touched
from tests.builders import TOPIC_IDS, decoded, judged, moved, sold, visited
from tests.fixtures.kafka import KafkaBroker
from tests.fixtures.warehouse import WarehouseProcess, own_database
from tests.integration.test_sink import ROWS, emptied, held, stored
from tillstream.audit.derived import check_stock, check_windows
from tillstream.audit.digest import Digest
from tillstream.errors import IntegrityError, ServiceError
from tillstream.settings import KafkaSettings, WarehouseSettings, load_settings

pytestmark = pytest.mark.integration

Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def warehouse(warehouse_server: WarehouseProcess) -> Iterator[WarehouseSettings]:
    with own_database(warehouse_server, "executors") as settings:
        yield settings


@pytest.fixture(scope="module")
def database(warehouse: WarehouseSettings) -> Iterator[Client]:
    with closing(connect(warehouse)) as client:
        yield client


@pytest.fixture(scope="module")
def by_the_driver(database: Client) -> dict[str, Digest]:
    """What the driver's sink makes of ROWS."""
    sink = WarehouseSink(database, followers=(AnomalyMarks(database),))
    sink.open()
    sink.write(decoded(*ROWS), TOPIC_IDS, batch_id=0)
    sink.close()
    return held(database)


@pytest.fixture
def client(database: Client, by_the_driver: dict[str, Digest]) -> Client:
    assert by_the_driver["fact_sales"].rows == 7
    emptied(database)
    return database


@dataclass(frozen=True, slots=True)
class Executors:
    """A frame whose tasks run here: one for each Kafka partition, as Spark cuts them. `attempts`
    says which try of its task each one is."""

    rows: Sequence[Row]
    attempts: Mapping[int, int] = field(default_factory=dict)

    def mapInArrow(
        self, task: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]], _schema: object
    ) -> "Executors":
        object.__setattr__(self, "rows", self._run(task))
        return self

    def toArrow(self) -> pa.Table:
        return cast("pa.Table", self.rows)

    def _run(self, task: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]) -> Any:
        partitions: dict[tuple[str, int], list[Row]] = {}
        for row in self.rows:
            partitions.setdefault((row["topic"], row["partition"]), []).append(row)
        done: list[pa.RecordBatch] = []
        for number, rows in enumerate(partitions.values()):
            with pytest.MonkeyPatch.context() as patch:
                attempt = self.attempts.get(number, 0)
                patch.setattr(TaskContext, "get", lambda a=attempt: _Context(a))
                done += task(decoded(*rows).to_batches())
        return pa.Table.from_batches(done, schema=executors._LANDED)


@dataclass(frozen=True, slots=True)
class _Context:
    attempt: int

    def attemptNumber(self) -> int:
        return self.attempt


@pytest.fixture
def destination(
    client: Client, warehouse: WarehouseSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExecutorDestination]:
    """As the stream makes it, but that no topic is asked for: ROWS come from no broker."""
    monkeypatch.setattr(executors, "_inspector", lambda _: None)
    monkeypatch.setattr(executors, "must_still_be", lambda *_: None)
    sink = WarehouseSink(client, followers=(AnomalyMarks(client),))
    source = Source(KafkaSettings(), cast("Any", None), {}, Rules())
    settings = load_settings(warehouse=warehouse)
    reports: list[BatchReport] = []
    one = ExecutorDestination(settings, client, source, sink, on_report=reports.append)
    yield one
    sink.close()


def put(destination: ExecutorDestination, rows: Sequence[Row], **attempts: Any) -> None:
    destination.put(cast("DataFrame", Executors(rows, **attempts)), TOPIC_IDS, 0)


def test_executors_make_the_same_tables_as_the_driver(
    client: Client, destination: ExecutorDestination, by_the_driver: dict[str, Digest]
) -> None:
    destination.open()
    put(destination, ROWS)
    assert held(client) == by_the_driver
    assert stored(client, "anomalies FINAL", "partition, offset, kind, value") == [
        (0, 5, "quantity_outlier", 9000.0)
    ]
    cuts = {(c.topic, c.partition): c.next_offset for c in destination.open()}
    assert cuts["retail-sales-transactions", 0] == 7
    assert len(cuts) == 5


def test_followers_see_the_batch_as_the_driver_would() -> None:
    batch = Batch.of(judged(*ROWS), lookup=lambda keys: _NOBODY)
    told = from_landed(executors._done(as_landed(batch)))
    assert told.ranges == batch.ranges
    columns = ["topic_id", "partition", "offset", "store_id", "product_id", "revenue", "arrival"]
    assert told.winners.select(columns).equals(batch.winners.select(columns))
    assert told.duplicates["offset"].to_pylist() == batch.duplicates["offset"].to_pylist()
    assert told.refused["value"].to_pylist() == [b"\x01poison"] * 2
    assert told.refused["reason"].to_pylist() == ["bad_magic_byte"] * 2
    assert told.winners["value"].null_count == told.winners.num_rows
    touched = [Touched.by(one, span_ms=10**12) for one in (told, batch)]
    assert touched[0] and touched[1]
    assert touched[0].prices == touched[1].prices
    assert touched[0].items.equals(touched[1].items)


_NOBODY = pa.table({"event_key": pa.array([], pa.binary())})


# Every table with every kind of failure and with every cut; test_sink has all three together.
@pytest.mark.parametrize(
    ("table", "reached", "batch_size"),
    [
        (table, reached, 100 if reached == (number % 2 == 0) else 3)
        for number, table in enumerate(
            ("fact_sales", "duplicates", "quarantine", "event_index", "velocity_5m_sums")
        )
        for reached in (False, True)
    ],
)
def test_a_task_that_fails_at_any_insert_is_made_up_for(
    client: Client,
    destination: ExecutorDestination,
    by_the_driver: dict[str, Digest],
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    reached: bool,
    batch_size: int,
) -> None:
    destination.open()
    with monkeypatch.context() as broken:
        broken.setattr(landing, "insert", _failing(table, reached=reached))
        with pytest.raises(ServiceError, match="tripped over a cable") as told:
            put(destination, ROWS)
    assert told.value.hint == "mind the cable"
    assert destination.open() == []
    for rows in _regrouped(batch_size):
        put(destination, rows)
    assert held(client) == by_the_driver
    assert check_windows(client).clean
    assert check_stock(client).clean


def _regrouped(size: int) -> list[list[Row]]:
    last = max(row["offset"] for row in ROWS)
    return [
        [row for row in ROWS if start <= row["offset"] < start + size]
        for start in range(0, last + 1, size)
    ]


def _failing(table: str, *, reached: bool) -> Callable[..., int]:
    from clickhouse.writer import insert

    def fail(client: Client, into: str, rows: pa.Table, *, token: str | None = None) -> int:
        if into != table:
            return insert(client, into, rows, token=token)
        if reached:
            insert(client, into, rows, token=token)
        raise ServiceError("somebody tripped over a cable", hint="mind the cable")

    return fail


@pytest.mark.parametrize("first_try", ["everything", "the facts", "nothing"])
def test_a_task_of_a_lost_executor_is_not_tried_again_but_its_batch_is(
    client: Client,
    destination: ExecutorDestination,
    by_the_driver: dict[str, Digest],
    monkeypatch: pytest.MonkeyPatch,
    first_try: str,
) -> None:
    """The first try had stored something before its executor died; Spark starts a second one,
    which must not write: what is derived from the facts can only be put right by the driver."""
    destination.open()
    if first_try == "everything":
        put(destination, ROWS)
        client.command("TRUNCATE TABLE stream_commits")
        destination.open()
    elif first_try == "the facts":
        with monkeypatch.context() as broken:
            broken.setattr(landing, "insert", _failing("velocity_5m_sums", reached=False))
            with pytest.raises(ServiceError):
                put(destination, ROWS)
    before = held(client)
    with pytest.raises(ServiceError, match="executor died"):
        put(destination, ROWS, attempts=dict.fromkeys(range(10), 1))
    assert held(client) == before
    destination.open()
    put(destination, ROWS)
    assert held(client) == by_the_driver
    assert check_windows(client).clean


def test_what_goes_wrong_in_a_task_is_told_after_its_neighbours_have_ended(
    client: Client, destination: ExecutorDestination
) -> None:
    destination.open()
    with pytest.raises(ServiceError, match="executor died"):
        put(destination, [sold(0), moved(0)], attempts={0: 1})
    assert stored(client, "fact_sales", "offset") == []
    assert stored(client, "fact_inventory", "offset") == [(0,)]
    assert queries.committed_cuts(client, "live") == []


def test_a_task_that_outlives_its_stream_writes_nothing(
    client: Client, destination: ExecutorDestination, by_the_driver: dict[str, Digest]
) -> None:
    """Spark gave up on an executor, the stream went on without it, and then it comes back."""
    destination.open()
    lost = executors.LandTask(
        destination._warehouse, KafkaSettings(), TOPIC_IDS, {}, True, destination._token
    )
    destination.open()
    for rows in _regrouped(3):
        put(destination, rows)
    told = pa.Table.from_batches(lost(decoded(*ROWS).to_batches()))
    with pytest.raises(ServiceError, match="taken over"):
        executors._done(told)
    assert held(client) == by_the_driver


def test_a_task_overtaken_between_its_rounds_leaves_off(
    client: Client,
    destination: ExecutorDestination,
    by_the_driver: dict[str, Digest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has stored facts when somebody else takes over, and must leave the sums to them."""
    from clickhouse.writer import insert

    def overtaken(one: Client, into: str, rows: pa.Table, *, token: str | None = None) -> int:
        done = insert(one, into, rows, token=token)
        if into == "fact_sales":
            take_over(client)
        return done

    destination.open()
    with monkeypatch.context() as patch:
        patch.setattr(landing, "insert", overtaken)
        with pytest.raises(ServiceError, match="taken over"):
            put(destination, ROWS)
    assert stored(client, "velocity_5m_sums", "units") == []
    destination.open()
    put(destination, ROWS)
    assert held(client) == by_the_driver


def test_a_new_stream_waits_for_an_insert_under_way(
    client: Client, warehouse: WarehouseSettings, destination: ExecutorDestination
) -> None:
    """An insert that a task of the former stream sent may end long after the task."""
    slow = (
        "INSERT INTO velocity_5m_sums SELECT '304', 'p', toDateTime(0, 'UTC') + sleepEachRow(1),"
        " 1, 1, 1 FROM numbers(2) SETTINGS max_block_size = 1"
    )
    own = connect(warehouse)
    sender = threading.Thread(target=own.command, args=(slow,))
    sender.start()
    while not running_inserts(client):
        assert sender.is_alive()
    destination.open()
    assert stored(client, "velocity_5m_sums", "sum(lines)") == [(2,)]
    sender.join()
    own.close()


def test_the_newest_stream_is_the_writer(client: Client) -> None:
    older = take_over(client)
    require_writer(client, older)
    newer = take_over(client)
    assert newer > older
    require_writer(client, newer)
    with pytest.raises(Superseded, match=f"token {newer}, ours is {older}"):
        require_writer(client, older)
    assert recover(client, "live").high_water == {}


def test_a_store_counts_in_its_own_time_zone_though_nothing_was_sold(
    client: Client, destination: ExecutorDestination
) -> None:
    """A task knows the dimensions from its start, not only once it meets an unknown product."""
    client.command("INSERT INTO dim_store (store_id, time_zone) VALUES ('304', 'America/New_York')")
    destination.open()
    put(destination, [visited(0)])
    assert stored(client, "customer_events", "toString(date_key)") == [("2017-11-19",)]


def test_lost_records_stay_an_integrity_error_on_their_way_to_the_driver() -> None:
    def contradicts(_: pa.Table) -> pa.Table:
        raise IntegrityError("two different records claim one place")

    def breaks(_: pa.Table) -> pa.Table:
        raise KeyError

    for work, error, message in (
        (contradicts, IntegrityError, "two different records"),
        (breaks, ServiceError, "KeyError"),
    ):
        rows = executors._told(work, decoded(sold(0)).to_batches(), executors._ARCHIVED)
        with pytest.raises(error, match=message):
            executors._done(pa.Table.from_batches(rows))


def test_a_task_without_records_asks_nobody(kafka_broker: KafkaBroker) -> None:
    task = executors.LandTask(
        WarehouseSettings(port=1), KafkaSettings(bootstrap=kafka_broker.bootstrap), {}, {}, True, 1
    )
    assert list(task(iter([DECODED.empty_table().to_batches(1)]).__next__())) == []


def test_a_topic_created_again_is_noticed_by_the_task(
    client: Client, warehouse: WarehouseSettings, kafka_broker: KafkaBroker
) -> None:
    token = take_over(client)
    kafka = KafkaSettings(bootstrap=kafka_broker.bootstrap)
    ids = {**TOPIC_IDS, "no-such-topic": UUID(int=7)}
    task = executors.LandTask(warehouse, kafka, ids, {}, True, token)
    with pytest.raises(ServiceError, match=r"no-such-topic.* was deleted and created again"):
        executors._done(pa.Table.from_batches(task(decoded(sold(0)).to_batches())))
    assert stored(client, "fact_sales", "offset") == []
