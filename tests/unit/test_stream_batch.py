"""Judging a batch: who wins, who is a duplicate, what is already stored."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from streaming.batch import Batch, OffsetRange, offset_ranges, without_stored
from streaming.stock import Touched, touched_items
from streaming.velocity import velocity
from tests.builders import AT, SALES_ID, TOPIC_IDS, judged, moved, refused, sold, visited
from tests.contracts_suite.events import AT_MS
from tillstream.contracts.topics import Topic

DAY_MS = 86_400_000


def batch(*rows: dict[str, Any]) -> Batch:
    return Batch.of(judged(*rows), lookup=None)


STORED = pa.schema(
    [
        ("event_key", pa.binary()),
        ("topic_id", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)


def stored_at(**places: tuple[str, int, int]) -> Any:
    """A lookup that knows sales of store 304 by identity, dashes written as underscores."""
    rows = []
    for name, (topic_id, partition, offset) in places.items():
        key = sold(0, name.replace("_", "-"))["event_key"]
        rows.append(
            {"event_key": key, "topic_id": topic_id, "partition": partition, "offset": offset}
        )
    table = pa.Table.from_pylist(rows, schema=STORED)

    def lookup(event_keys: pa.Array) -> pa.Table:
        return table.filter(pa.compute.is_in(table["event_key"], event_keys))

    return lookup


NOTHING = stored_at()


def offsets(rows: pa.Table) -> list[int]:
    return list(rows["offset"].to_pylist())


def winners_of(duplicates: pa.Table) -> list[tuple[Any, ...]]:
    columns = ("offset", "winner_topic_id", "winner_partition", "winner_offset")
    return [tuple(row[name] for name in columns) for row in duplicates.to_pylist()]


def test_every_record_is_judged_once() -> None:
    rows = judged(sold(0), refused(1), sold(2, "sale-0-0"), moved(0), visited(0))
    batch = Batch.of(rows, lookup=NOTHING)
    assert sorted(batch.winners["identity"].to_pylist()) == ["move-0-0", "sale-0-0", "visit-0"]
    assert offsets(batch.duplicates) == [2]
    assert offsets(batch.refused) == [1]


def test_first_arrival_wins_whatever_the_order_of_rows() -> None:
    rows = judged(sold(2, "x"), sold(1, "x"), sold(3, "x"))
    batch = Batch.of(rows, lookup=NOTHING)
    assert offsets(batch.winners) == [1]
    assert winners_of(batch.duplicates) == [(2, SALES_ID, 0, 1), (3, SALES_ID, 0, 1)]


def test_of_two_partitions_the_earlier_arrival_wins() -> None:
    first = AT - timedelta(seconds=1)
    rows = judged(sold(0, "x", partition=0), sold(9, "x", partition=2, arrival=first))
    batch = Batch.of(rows, lookup=NOTHING)
    assert batch.winners["partition"].to_pylist() == [2]
    assert winners_of(batch.duplicates) == [(0, SALES_ID, 2, 9)]


def test_same_identity_of_another_topic_or_store_is_another_event() -> None:
    rows = judged(sold(0, "x"), moved(0, "x"), sold(1, "x", store_id="305"))
    batch = Batch.of(rows, lookup=NOTHING)
    assert batch.winners.num_rows == 3
    assert batch.duplicates.num_rows == 0


def test_event_already_stored_wins_over_the_batch() -> None:
    rows = judged(sold(5, "x"), sold(6, "x"), sold(7, "y"))
    batch = Batch.of(rows, lookup=stored_at(x=(SALES_ID, 2, 3)))
    assert offsets(batch.winners) == [7]
    assert winners_of(batch.duplicates) == [(5, SALES_ID, 2, 3), (6, SALES_ID, 2, 3)]


def test_retry_of_itself_is_no_duplicate() -> None:
    batch = Batch.of(judged(sold(5, "x"), sold(6, "x")), lookup=stored_at(x=(SALES_ID, 0, 5)))
    assert offsets(batch.winners) == [5]
    assert winners_of(batch.duplicates) == [(6, SALES_ID, 0, 5)]


def test_retry_recognises_a_winner_that_is_not_first_in_the_batch() -> None:
    """The stored row decides, even when the batch now begins with one that lost."""
    batch = Batch.of(judged(sold(5, "x"), sold(6, "x")), lookup=stored_at(x=(SALES_ID, 0, 6)))
    assert offsets(batch.winners) == [6]
    assert winners_of(batch.duplicates) == [(5, SALES_ID, 0, 6)]


def test_same_offset_of_another_incarnation_is_a_duplicate() -> None:
    gone = str(UUID(int=77))
    batch = Batch.of(judged(sold(5, "x")), lookup=stored_at(x=(gone, 0, 5)))
    assert batch.winners.num_rows == 0
    assert winners_of(batch.duplicates) == [(5, gone, 0, 5)]


def test_lookup_is_asked_each_identity_once() -> None:
    asked: list[bytes] = []

    def lookup(event_keys: pa.Array) -> pa.Table:
        asked.extend(event_keys.to_pylist())
        return STORED.empty_table()

    Batch.of(judged(sold(0, "x"), sold(1, "x"), refused(2), sold(3, "y")), lookup=lookup)
    assert sorted(asked) == sorted([sold(0, "x")["event_key"], sold(0, "y")["event_key"]])


@pytest.mark.parametrize("lookup", [None, NOTHING], ids=["no lookup", "lookup"])
def test_batch_of_poison_alone_has_no_winners(lookup: Any) -> None:
    batch = Batch.of(judged(refused(0), refused(1)), lookup=lookup)
    assert (batch.winners.num_rows, batch.duplicates.num_rows, batch.refused.num_rows) == (0, 0, 2)
    assert "winner_offset" in batch.duplicates.column_names


def test_without_lookup_everything_wins() -> None:
    batch = Batch.of(judged(sold(0, "x"), sold(1, "x")), lookup=None)
    assert offsets(batch.winners) == [0, 1]
    assert batch.duplicates.num_rows == 0


def test_ranges_name_topic_uuid_and_both_ends() -> None:
    reborn = {**TOPIC_IDS, Topic.INVENTORY.value: UUID(int=9)}
    rows = judged(sold(7), refused(9), sold(8), sold(3, partition=1), moved(4), ids=reborn)
    assert offset_ranges(rows) == (
        OffsetRange(Topic.INVENTORY, str(UUID(int=9)), 0, 4, 4),
        OffsetRange(Topic.SALES, SALES_ID, 0, 7, 9),
        OffsetRange(Topic.SALES, SALES_ID, 1, 3, 3),
    )
    assert str(offset_ranges(rows)[1]) == f"{SALES_ID}:0:7-9"


def test_stored_rows_are_left_out_by_all_three_coordinates() -> None:
    rows = judged(sold(0), sold(1), sold(1, partition=1))
    places = [(SALES_ID, 0, 1), (str(UUID(int=5)), 0, 0), (SALES_ID, 2, 0)]
    stored = pa.table(
        {
            "topic_id": [place[0] for place in places],
            "partition": pa.array([place[1] for place in places], pa.int32()),
            "offset": [place[2] for place in places],
        }
    )
    left = without_stored(rows, stored)
    assert [(r["partition"], r["offset"]) for r in left.to_pylist()] == [(0, 0), (1, 1)]
    assert without_stored(rows, stored.slice(0, 0)) is rows


def test_velocity_adds_exactly() -> None:
    """Ten times ten cents is one unit of money; a return takes away; a line of 0 units counts."""
    ten = [sold(i, product_id="p", quantity=1, revenue=Decimal("0.1")) for i in range(10)]
    sums = velocity(
        judged(
            *ten,
            sold(10, product_id="r", quantity=2, revenue=Decimal("5.0001")),
            sold(11, product_id="r", quantity=-3, revenue=Decimal("-7.5002")),
            sold(12, product_id="z", quantity=0, revenue=Decimal("0.5")),
            sold(13, product_id="z", quantity=4, event_time=AT + timedelta(minutes=5)),
        )
    )
    rows = {(r["product_id"], r["window_start"]): r for r in sums.to_pylist()}
    assert len(rows) == 4
    found = {key: (row["units"], row["revenue"], row["lines"]) for key, row in rows.items()}
    assert found == {
        ("p", AT): (10, Decimal("1.0000"), 10),
        ("r", AT): (-1, Decimal("-2.5001"), 2),
        ("z", AT): (0, Decimal("0.5000"), 1),
        ("z", AT + timedelta(minutes=5)): (4, Decimal("3.5800"), 1),
    }


def test_velocity_does_not_overflow() -> None:
    most = Decimal("99999999999999.9999")
    sums = velocity(judged(*(sold(i, quantity=2**31 - 1, revenue=most) for i in range(3))))
    assert sums["units"].to_pylist() == [3 * (2**31 - 1)]
    assert sums["revenue"].to_pylist() == [3 * most]


def test_only_sales_and_movements_touch_a_shelf() -> None:
    rows = judged(sold(0), moved(0), moved(1, store_id="305"), visited(0, product_id="seen"))
    items = {(r["store_id"], r["product_id"]) for r in touched_items(rows).to_pylist()}
    assert items == {("304", "1095275"), ("305", "1095275")}


def test_stream_time_is_the_largest_event_time() -> None:
    late = sold(1, event_time=AT - timedelta(days=3000))
    early = sold(2, event_time=AT - timedelta(hours=1))
    touched = Touched.by(batch(sold(0), late, early), span_ms=DAY_MS)
    assert touched is not None
    assert (touched.first_event_ms, touched.last_event_ms) == (AT_MS - 3_600_000, AT_MS)
    nothing = Touched.by(batch(refused(0)), span_ms=DAY_MS)
    assert (nothing.items.num_rows, len(nothing.cuts)) == (0, 1)
    both = nothing.then(touched)
    assert both.first_event_ms == touched.first_event_ms
    assert both.last_event_ms == touched.last_event_ms
    assert both.items.num_rows == touched.items.num_rows


def test_batches_seen_together_touch_each_item_once_and_keep_the_last_price() -> None:
    first = Touched.by(batch(sold(0, unit_price=Decimal("1.0000")), moved(0)), span_ms=DAY_MS)
    later = Touched.by(batch(sold(1, unit_price=Decimal("2.5000"))), span_ms=DAY_MS)
    assert first is not None and later is not None
    both = first.then(later)
    assert both.items.num_rows == 1
    assert both.prices == {"1095275": 2.5}
    assert {(c.topic, c.next_offset) for c in both.cuts.values()} == {
        (Topic.SALES.value, 2),
        (Topic.INVENTORY.value, 1),
    }
