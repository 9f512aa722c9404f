"""Batches into a real warehouse: once each, whatever is interrupted and however it is retried."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import pyarrow as pa
import pytest

import clickhouse.writer
from clickhouse import queries
from clickhouse.client import Client
from streaming import anomalies, landing, sinks
from streaming.anomalies import AnomalyMarks
from streaming.batch import Batch
from streaming.enrich import Dimensions
from streaming.fencing import Superseded
from streaming.jobs import DriverDestination
from streaming.known import KnownEvents
from streaming.recovery import recover
from streaming.sinks import BatchReport, Follower, WarehouseSink
from tests.builders import (
    AT,
    INVENTORY_ID,
    SALES_ID,
    TOPIC_IDS,
    decoded,
    moved,
    refused,
    repriced,
    sold,
    visited,
)
from tests.fixtures.warehouse import WarehouseProcess, own_client
from tillstream.audit.derived import check_stock, check_windows
from tillstream.audit.digest import Digest, digests
from tillstream.contracts.topics import Topic
from tillstream.errors import ServiceError

pytestmark = pytest.mark.integration

Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def database(warehouse_server: WarehouseProcess) -> Iterator[Client]:
    with own_client(warehouse_server, "sink") as client:
        yield client


@pytest.fixture
def client(database: Client, undisturbed: dict[str, Digest]) -> Client:
    """An empty warehouse: emptied, since that is quicker than making one."""
    assert undisturbed["fact_sales"].rows == 7
    emptied(database)
    return database


def emptied(client: Client) -> None:
    tables = client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase()"
        " AND engine LIKE '%MergeTree' AND total_rows > 0"
        " AND name NOT IN ('schema_migrations', 'dim_date')"
    ).result_rows
    for (name,) in tables:
        client.command(f"TRUNCATE TABLE {name}")


def stored(client: Client, table: str, columns: str) -> list[tuple[Any, ...]]:
    found = client.query(f"SELECT {columns} FROM {table} ORDER BY ALL")
    return [tuple(row) for row in found.result_rows]


def held(client: Client) -> dict[str, Digest]:
    return {one.table: one for one in digests(client)}


def write(
    client: Client,
    *batches: Sequence[Row],
    ids: Mapping[str, UUID] = TOPIC_IDS,
    deduplicate: bool = True,
) -> list[BatchReport]:
    """Each of `batches` by a sink that has just started."""
    sink = WarehouseSink(client, deduplicate=deduplicate, followers=(AnomalyMarks(client),))
    try:
        sink.open()
        return [
            sink.write(decoded(*rows), ids, batch_id=number) for number, rows in enumerate(batches)
        ]
    finally:
        sink.close()


# Two partitions, four topics, a duplicate in its own batch, a late event, a fuel line, poison.
ROWS: tuple[Row, ...] = (
    sold(0),
    sold(1, product_id="milk", quantity=0, revenue=Decimal("0.0000")),
    sold(2, "sale-0-0"),
    refused(3),
    sold(4, event_time=AT - timedelta(days=4000)),
    sold(5, product_id="fuel", quantity=9000, revenue=Decimal("25.0000")),
    sold(6),
    sold(0, "other-0", partition=1, store_id="305"),
    sold(1, "other-1", partition=1, store_id="305", quantity=-1, revenue=Decimal("-1.7900")),
    moved(0, quantity_on_hand=14),
    moved(1, quantity_on_hand=12),
    moved(2, "move-0-0", quantity_on_hand=14, sequence=1),
    refused(3, Topic.INVENTORY),
    repriced(0),
    visited(0),
)


@pytest.fixture(scope="module")
def undisturbed(database: Client) -> dict[str, Digest]:
    """What ROWS become when nothing goes wrong."""
    emptied(database)
    write(database, ROWS)
    return held(database)


def test_every_offset_lands_in_exactly_one_table(client: Client) -> None:
    (report,) = write(client, ROWS)
    assert (report.counted, report.duplicates, report.refused) == (11, 2, 2)
    places = "topic_id, partition, offset"
    sales, moves = SALES_ID, INVENTORY_ID
    assert stored(client, "fact_sales", places) == [
        *((sales, 0, offset) for offset in (0, 1, 4, 5, 6)),
        *((sales, 1, offset) for offset in (0, 1)),
    ]
    assert stored(client, "fact_inventory", places) == [(moves, 0, 0), (moves, 0, 1)]
    assert stored(client, "duplicates", f"{places}, winner_topic_id, winner_offset, identity") == [
        (sales, 0, 2, sales, 0, "sale-0-0"),
        (moves, 0, 2, moves, 0, "move-0-0"),
    ]
    assert stored(client, "quarantine", f"{places}, reason, value") == [
        (sales, 0, 3, "bad_magic_byte", "\x01poison"),
        (moves, 0, 3, "bad_magic_byte", "\x01poison"),
    ]
    assert stored(client, "price_changes", "price_change_id, new_price, effective_to") == [
        ("price-0", Decimal("1.4900"), None)
    ]
    assert stored(client, "customer_events", "event_id, event_type, product_id") == [
        ("visit-0", "visit", None)
    ]
    cuts = queries.committed_cuts(client, "live")
    assert {(cut.topic, cut.partition, cut.next_offset) for cut in cuts} == {
        (Topic.SALES, 0, 7),
        (Topic.SALES, 1, 2),
        (Topic.INVENTORY, 0, 4),
        (Topic.PRICES, 0, 1),
        (Topic.CUSTOMERS, 0, 1),
    }


def test_windows_stock_and_marks_follow_from_the_facts(client: Client) -> None:
    write(client, ROWS)
    columns = "store_id, product_id, toUnixTimestamp(window_start) AS w, units, revenue, lines"
    now = int(AT.timestamp())
    then = int((AT - timedelta(days=4000)).timestamp())
    assert stored(client, "velocity_5m", columns) == [
        ("304", "1095275", then, 2, Decimal("3.58"), 1),
        ("304", "1095275", now, 4, Decimal("7.16"), 2),
        ("304", "fuel", now, 9000, Decimal("25"), 1),
        ("304", "milk", now, 0, Decimal("0"), 1),
        ("305", "1095275", now, 1, Decimal("1.79"), 2),
    ]
    assert stored(client, "current_stock", "store_id, product_id, on_hand, sequence") == [
        ("304", "1095275", 12, 2)
    ]
    assert stored(client, "anomalies FINAL", "partition, offset, kind, value") == [
        (0, 5, "quantity_outlier", 9000.0)
    ]


def test_batch_written_again_after_a_restart_changes_nothing(
    client: Client, undisturbed: dict[str, Digest]
) -> None:
    write(client, ROWS)
    assert held(client) == undisturbed
    (again,) = write(client, ROWS)
    assert held(client) == undisturbed
    # A row is no duplicate of itself.
    assert (again.counted, again.duplicates) == (11, 2)


def test_batches_cut_elsewhere_give_the_same_rows(
    client: Client, undisturbed: dict[str, Digest]
) -> None:
    write(client, *_regrouped(1))
    assert held(client) == undisturbed
    write(client, *_regrouped(4))
    assert held(client) == undisturbed


def _regrouped(size: int) -> list[list[Row]]:
    """ROWS in batches of `size` offsets of every partition, as another rate limit would cut."""
    last = max(row["offset"] for row in ROWS)
    return [
        [row for row in ROWS if start <= row["offset"] < start + size]
        for start in range(0, last + 1, size)
    ]


TABLES = (
    "fact_sales",
    "fact_inventory",
    "duplicates",
    "quarantine",
    "event_index",
    "velocity_5m_sums",
    "anomalies",
    "stream_commits",
)


@pytest.mark.parametrize("batch_size", [100, 3], ids=["same batch", "cut elsewhere"])
@pytest.mark.parametrize("reached", [False, True], ids=["before", "answer lost"])
@pytest.mark.parametrize("table", TABLES)
def test_crash_at_any_insert_is_repaired(
    client: Client,
    undisturbed: dict[str, Digest],
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    reached: bool,
    batch_size: int,
) -> None:
    """The insert into `table` fails, either before it reached the warehouse or after it was
    carried out; the stream starts again and reads the uncommitted offsets again."""
    with monkeypatch.context() as broken:
        for module in (landing, anomalies, sinks):
            broken.setattr(module, "insert", _failing(table, reached=reached))
        with pytest.raises(ServiceError, match="cable"):
            write(client, ROWS)
    write(client, *_regrouped(batch_size))
    assert held(client) == undisturbed
    assert check_windows(client).clean
    assert check_stock(client).clean
    index = stored(client, "event_index", "DISTINCT event_key")
    assert len(index) == 11
    assert stored(client, "anomalies FINAL", "partition, offset, kind") == [
        (0, 5, "quantity_outlier")
    ]


def _failing(table: str, *, reached: bool) -> Callable[..., int]:
    def insert(client: Client, into: str, rows: pa.Table, *, token: str | None = None) -> int:
        if into != table:
            return clickhouse.writer.insert(client, into, rows, token=token)
        if reached:
            clickhouse.writer.insert(client, into, rows, token=token)
        raise ServiceError("somebody tripped over a cable")

    return insert


def test_crash_before_the_sums_is_repaired_on_opening(
    client: Client, undisturbed: dict[str, Digest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers see right sums from the moment the stream is back, not only after the retry."""
    with monkeypatch.context() as broken:
        broken.setattr(landing, "insert", _failing("velocity_5m_sums", reached=False))
        with pytest.raises(ServiceError):
            write(client, ROWS)
    assert not check_windows(client).clean
    assert recover(client, "live").repaired_rows == 11
    assert held(client)["velocity_5m"] == undisturbed["velocity_5m"]
    recover(client, "live")
    assert held(client)["velocity_5m"] == undisturbed["velocity_5m"]


def test_late_duplicate_names_the_winner_of_an_earlier_batch(client: Client) -> None:
    write(client, [sold(0), sold(1)], [sold(0, "sale-0-1", partition=2)])
    write(client, [sold(7, "sale-0-0")])
    columns = "partition, offset, winner_topic_id, winner_partition, winner_offset"
    assert stored(client, "duplicates", columns) == [
        (0, 7, SALES_ID, 0, 0),
        (2, 0, SALES_ID, 0, 1),
    ]
    assert stored(client, "velocity_5m", "units, lines") == [(4, 2)]


def test_without_deduplication_a_duplicate_is_counted(client: Client) -> None:
    write(client, [sold(0), sold(1, "sale-0-0")], deduplicate=False)
    assert stored(client, "fact_sales", "offset") == [(0,), (1,)]
    assert stored(client, "velocity_5m", "units") == [(4,)]


def test_recreated_topic_keeps_old_rows_and_loses_no_new_ones(client: Client) -> None:
    reborn = {**TOPIC_IDS, Topic.SALES.value: UUID(int=99)}
    write(client, [sold(0), sold(1)])
    write(client, [sold(0, "new"), sold(1, "sale-0-0")], ids=reborn)
    assert stored(client, "fact_sales", "sale_id, topic_id, offset") == [
        ("new", str(UUID(int=99)), 0),
        ("sale-0-0", SALES_ID, 0),
        ("sale-0-1", SALES_ID, 1),
    ]
    assert stored(client, "duplicates", "topic_id, offset, winner_topic_id, winner_offset") == [
        (str(UUID(int=99)), 1, SALES_ID, 0)
    ]
    assert stored(client, "velocity_5m", "units") == [(6,)]


def test_newest_sequence_is_the_stock_whatever_the_order(client: Client) -> None:
    late = AT + timedelta(hours=1)
    first = [moved(0, sequence=5, quantity_on_hand=50), moved(1, sequence=7, quantity_on_hand=70)]
    # Rung up later, yet an older movement by sequence.
    second = [moved(2, sequence=6, quantity_on_hand=60, event_time=late)]
    write(client, first, second)
    assert stored(client, "current_stock", "on_hand, sequence") == [(70, 7)]
    unnumbered: dict[str, Any] = {"product_id": "milk", "sequence": 0}
    write(
        client,
        [moved(3, quantity_on_hand=3, event_time=late, **unnumbered)],
        [moved(4, quantity_on_hand=4, **unnumbered)],
    )
    assert stored(client, "current_stock", "product_id, on_hand") == [("1095275", 70), ("milk", 3)]


class _Follower(Follower):
    def __init__(self, client: Client) -> None:
        self.client = client
        self.saw: list[tuple[int, int, int]] = []
        self.fails = False

    def open(self) -> None:
        self.saw.clear()

    def __call__(self, batch: Batch, dimensions: Dimensions) -> None:
        facts = len(stored(self.client, "fact_sales", "offset"))
        windows = len(stored(self.client, "velocity_5m", "units"))
        self.saw.append((facts, windows, len(queries.committed_cuts(self.client, "live"))))
        if self.fails:
            raise ServiceError("nobody answers")


def test_followers_see_a_batch_stored_and_not_yet_committed(client: Client) -> None:
    follower = _Follower(client)
    sink = WarehouseSink(client, followers=(follower,))
    sink.open()
    follower.fails = True
    with pytest.raises(ServiceError, match="nobody answers"):
        sink.write(decoded(sold(0)), TOPIC_IDS, batch_id=0)
    assert follower.saw == [(1, 1, 0)]
    assert queries.committed_cuts(client, "live") == []
    follower.fails = False
    sink.open()
    sink.write(decoded(sold(0)), TOPIC_IDS, batch_id=0)
    assert follower.saw == [(1, 1, 0)]
    assert [cut.next_offset for cut in queries.committed_cuts(client, "live")] == [1]
    sink.close()


def test_a_driver_that_was_replaced_writes_nothing_more(client: Client) -> None:
    """On another machine, say, so that no file lock is in its way."""
    sinks = [WarehouseSink(client), WarehouseSink(client)]
    older, newer = (
        DriverDestination(client, cast("Any", None), sink, on_report=lambda _: None)
        for sink in sinks
    )
    older.open()
    sinks[0].write(decoded(sold(0)), TOPIC_IDS, batch_id=0)
    newer.open()
    with pytest.raises(Superseded, match="another stream has taken over"):
        sinks[0].write(decoded(sold(1)), TOPIC_IDS, batch_id=1)
    sinks[1].write(decoded(sold(1)), TOPIC_IDS, batch_id=0)
    assert stored(client, "fact_sales", "offset") == [(0,), (1,)]
    older.close()
    newer.close()
    for sink in sinks:
        sink.close()


def _knowing(client: Client) -> tuple[WarehouseSink, KnownEvents]:
    known = KnownEvents(client, bits=1 << 16)
    sink = WarehouseSink(client, known=known)
    sink.open()
    assert known.wait(30)
    return sink, known


def _asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many keys each batch looks up."""
    counts: list[int] = []
    find = queries.find_events

    def counted(client: Client, keys: pa.Array) -> pa.Table:
        counts.append(len(keys))
        return find(client, keys)

    monkeypatch.setattr(queries, "find_events", counted)
    return counts


def test_new_events_are_not_looked_up_and_old_ones_are_found(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _asked(monkeypatch)
    sink, _ = _knowing(client)
    sink.write(decoded(sold(0), sold(1)), TOPIC_IDS, batch_id=0)
    sink.write(decoded(sold(2, "sale-0-0")), TOPIC_IDS, batch_id=1)
    assert asked == [0, 1]
    sink.close()
    again, _ = _knowing(client)  # as after a crash: all of it read from the warehouse
    again.write(decoded(sold(3, "sale-0-0"), sold(4)), TOPIC_IDS, batch_id=0)
    assert asked == [0, 1, 1]
    assert stored(client, "fact_sales", "offset") == [(0,), (1,), (4,)]
    assert stored(client, "duplicates", "offset, winner_offset") == [(2, 0), (3, 0)]
    again.close()


def test_what_another_writer_stored_meanwhile_is_known_after_the_next_start(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, known = _knowing(client)
    sink.write(decoded(sold(0)), TOPIC_IDS, batch_id=0)
    write(client, [sold(1)])
    sink.open()
    assert known.wait(30)
    sink.write(decoded(sold(2, "sale-0-1")), TOPIC_IDS, batch_id=1)
    assert stored(client, "duplicates", "offset, winner_offset") == [(2, 1)]
    asked = _asked(monkeypatch)
    sink.open()  # nobody else wrote: nothing is read again, and nothing forgotten
    sink.write(decoded(sold(3, "sale-0-0"), sold(4)), TOPIC_IDS, batch_id=2)
    assert asked == [1]
    sink.close()


def test_all_keys_are_looked_up_while_the_old_ones_are_read(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(client, [sold(0)])
    may_go_on = threading.Event()
    read = queries.event_keys

    def slowly(one: Client, *, at_most: int) -> Iterator[pa.Array]:
        assert may_go_on.wait(30)
        yield from read(one, at_most=at_most)

    monkeypatch.setattr(queries, "event_keys", slowly)
    asked = _asked(monkeypatch)
    known = KnownEvents(client, bits=1 << 16)
    sink = WarehouseSink(client, known=known)
    sink.open()
    sink.write(decoded(sold(1, "sale-0-0"), sold(2)), TOPIC_IDS, batch_id=0)
    may_go_on.set()
    assert known.wait(30)
    sink.write(decoded(sold(3, "sale-0-2")), TOPIC_IDS, batch_id=1)
    assert asked == [2, 1]
    assert stored(client, "duplicates", "offset, winner_offset") == [(1, 0), (3, 2)]
    sink.close()


def test_too_many_to_be_read_are_all_looked_up(client: Client) -> None:
    write(client, [sold(0)])
    with pytest.raises(ServiceError, match="holds 1 events"):
        next(queries.event_keys(client, at_most=0))


def test_empty_batch_is_nothing(client: Client) -> None:
    (report,) = write(client, [])
    assert report.records == 0
    assert queries.committed_cuts(client, "live") == []


def test_facts_carry_local_date_and_cost(client: Client) -> None:
    client.command(
        "INSERT INTO dim_product (product_id, unit_cost, margin) VALUES"
        " ('costed', 1.25, 0.5), ('margin only', NULL, 0.4)"
    )
    client.command("INSERT INTO dim_store (store_id, time_zone) VALUES ('304', 'America/New_York')")
    write(
        client,
        [sold(0, product_id="costed"), sold(1, product_id="margin only"), sold(2, product_id="?")],
    )
    columns = "product_id, toString(date_key), cost, profit"
    assert stored(client, "fact_sales", columns) == [
        ("?", "2017-11-19", Decimal("2.685"), Decimal("0.895")),
        ("costed", "2017-11-19", Decimal("2.5"), Decimal("1.08")),
        ("margin only", "2017-11-19", Decimal("2.148"), Decimal("1.432")),
    ]
