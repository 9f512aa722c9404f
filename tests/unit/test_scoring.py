"""Evidence while there was stock, and what batches say of shelves."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from streaming.batch import Batch
from streaming.keyed import Moments
from streaming.scoring import in_stock_days
from streaming.stock import Touched
from streaming.stock_findings import find_negative_stock
from streaming.watch import pause_s, rest_s
from tests.builders import AT, judged, moved, sold
from tillstream.demand.rhythm import Rhythm
from tillstream.learning.exposure import DAY_MS, HOUR_MS

NOON = 12 * HOUR_MS
FLAT = Rhythm.flat()


def days(*turns: tuple[int, bool], is_empty: bool, rhythm: Rhythm = FLAT) -> float:
    at = np.array([at for at, _ in turns], dtype=np.int64)
    mark = np.array([went_empty for _, went_empty in turns], dtype=np.bool_)
    found = in_stock_days(
        rhythm,
        np.zeros(len(turns), np.int64),
        Moments(np.zeros(len(turns), np.uint64), at, np.zeros(len(turns)), mark),
        since_ms=0,
        as_of_ms=DAY_MS,
        offset_ms=np.zeros(1, np.int64),
        is_empty=np.array([is_empty]),
    )
    return float(found[0])


def test_time_without_stock_is_no_evidence() -> None:
    assert days(is_empty=False) == pytest.approx(1.0)
    assert days(is_empty=True) == 0.0
    assert days((NOON, True), is_empty=True) == pytest.approx(0.5)
    assert days((NOON, False), is_empty=False) == pytest.approx(0.5)
    assert days((6 * HOUR_MS, True), (NOON, False), is_empty=False) == pytest.approx(0.75)


def test_turns_that_contradict_each_other_stay_within_the_day() -> None:
    assert days((NOON, False), (18 * HOUR_MS, False), is_empty=False) == 0.0
    assert days((1, True), (2, True), is_empty=False) == pytest.approx(1.0)


def test_closed_hours_are_no_evidence() -> None:
    weights = np.zeros((7, 24))
    weights[:, 9] = 1.0
    assert days((NOON, True), is_empty=True, rhythm=Rhythm(weights)) == pytest.approx(1.0)
    assert days((8 * HOUR_MS, True), is_empty=True, rhythm=Rhythm(weights)) == 0.0


def batch(*rows: dict[str, object]) -> Batch:
    winners = judged(*rows)
    return Batch((), winners, winners.slice(0, 0), winners.slice(0, 0))


def told(found: pa.Table, *columns: str) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in columns) for row in found.to_pylist()]


def test_batches_say_what_came_and_which_shelves_turned() -> None:
    touched = Touched.by(
        batch(
            sold(0),
            moved(0, kind="delivery", quantity=12, quantity_on_hand=12, product_id="a"),
            moved(1, kind="transfer_in", quantity=3, quantity_on_hand=9, product_id="b"),
            moved(2, kind="delivery", quantity=-2, quantity_on_hand=9, product_id="b"),
            moved(3, kind="sale", quantity=-1, quantity_on_hand=0, product_id="c"),
            moved(4, kind="sale", quantity=-1, quantity_on_hand=-1, product_id="c"),
        ),
        span_ms=DAY_MS,
    )
    assert touched is not None
    at_ms = round(AT.timestamp() * 1000)
    assert told(touched.came, "product_id", "at_ms", "units", "mark") == [
        ("a", at_ms, 12.0, True),
        ("b", at_ms, 3.0, False),
    ]
    assert told(touched.turns, "product_id", "mark") == [("a", False), ("c", True)]
    assert touched.then(touched).came.num_rows == 4


def test_a_report_that_goes_below_zero_is_a_finding() -> None:
    winners = batch(
        moved(0, quantity=-2, quantity_on_hand=-1, event_time=AT + timedelta(seconds=1)),
        moved(1, quantity=5, quantity_on_hand=-3),  # a delivery onto books that were wrong before
        moved(2, quantity=-2, quantity_on_hand=0),
        sold(0),
    ).winners
    found = find_negative_stock(winners)
    assert told(found, "kind", "offset", "value") == [("negative_stock", 0, -1.0)]
    assert found["detail"][0].as_py() == (
        "the books say -1 after sale -2: more left the shelf than was there"
    )


def test_scoring_leaves_the_time_to_the_facts_while_they_catch_up() -> None:
    assert pause_s(0.2, shelves=3_000, behind_ms=60_000) == 0.5
    assert pause_s(2.0, shelves=3_000, behind_ms=60_000) == 0.5
    assert pause_s(2.0, shelves=20_000, behind_ms=60_000) == pytest.approx(10.0)
    # Live, and late only because the round before was slow: no rest, or it would never end.
    assert pause_s(2.0, shelves=20_000, behind_ms=1_000) == 0.5


def test_a_rest_is_over_when_the_stream_has_caught_up() -> None:
    assert rest_s(100.0, 110.0, fed_at=99.0, every_s=2.0) == pytest.approx(4.0)
    assert rest_s(100.0, 102.0, fed_at=99.0, every_s=2.0) == pytest.approx(2.0)
    assert rest_s(100.0, 110.0, fed_at=95.0, every_s=2.0) <= 0
    # Batches that take six seconds each are no sign of it while the next is under way.
    assert rest_s(100.0, 110.0, fed_at=94.0, every_s=6.0) == pytest.approx(6.0)
    assert rest_s(100.0, float("-inf"), fed_at=float("-inf"), every_s=0.0) < 0
