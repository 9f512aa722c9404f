"""Shelves that have been silent for too long."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tillstream.demand.belief import Belief
from tillstream.demand.phantom import phantom_probability
from tillstream.demand.rhythm import Rhythm
from tillstream.learning import stockerror
from tillstream.learning.evidence import Evidence
from tillstream.learning.exposure import DAY_MS
from tillstream.learning.learn import UNKNOWN_LATENESS, Learned
from tillstream.learning.phantoms import false_share, phantoms, without_silence

START = 1_773_100_800_000
NOW = START + 28 * DAY_MS
NO_COUNTS = pa.table({"recorded": pa.array([], pa.int64()), "found": pa.array([], pa.int64())})
NO_TURNS = pa.table(
    {
        "store_id": pa.array([], pa.string()),
        "product_id": pa.array([], pa.string()),
        "at_ms": pa.array([], pa.int64()),
        "is_empty": pa.array([], pa.bool_()),
    }
)


def evidence(products: list[str], *, turns: pa.Table = NO_TURNS, **columns: Any) -> Evidence:
    n = len(products)
    items = {
        "store_id": ["304"] * n,
        "product_id": products,
        "first_seen_ms": [START] * n,
        "first_on_hand": [9] * n,
        "on_hand": [9] * n,
        "time_zone": ["UTC"] * n,
    } | columns
    nothing = pa.table({})
    return Evidence(NOW, START, pa.table(items), turns, nothing, NO_COUNTS, nothing, nothing)


def learned(n: int) -> Learned:
    """Everything sells once a day, as 28 days have shown."""
    belief = Belief(np.full(n, 28.0), np.full(n, 28.0), np.ones(n))
    return Learned(NOW, Rhythm.flat(), 1.5, belief, stockerror.exact(), UNKNOWN_LATENESS)


def sold_last(**days_ago: float) -> pa.Table:
    return pa.table(
        {
            "store_id": ["304"] * len(days_ago),
            "product_id": list(days_ago),
            "at_ms": [NOW - round(days * DAY_MS) for days in days_ago.values()],
        }
    )


def test_the_longer_nothing_is_sold_the_likelier_nothing_is_there() -> None:
    found = phantoms(
        evidence(["long", "longer", "today", "none_left"], on_hand=[9, 9, 9, 0]),
        learned(4),
        sold_last(long=5.0, longer=8.0, today=0.2, none_left=8.0),
    )
    assert found["product_id"].to_pylist() == ["long", "longer"]
    assert found["silent_days"].to_pylist() == pytest.approx([5.0, 8.0])
    five, eight = found["probability"].to_pylist()
    assert 0.5 < five < eight < 1.0
    expected = phantom_probability(
        Belief(np.array([28.0]), np.array([23.0]), np.ones(1)),
        exposure=np.array([5.0]),
        prior=0.02,
    )
    assert five == pytest.approx(expected[0])


def test_a_shelf_that_was_empty_by_the_books_was_not_silent() -> None:
    turns = pa.table(
        {
            "store_id": ["304", "304"],
            "product_id": ["a", "a"],
            "at_ms": [NOW - 8 * DAY_MS, NOW - DAY_MS],
            "is_empty": [True, False],
        }
    )
    found = phantoms(evidence(["a"], turns=turns), learned(1), sold_last(a=8.0))
    assert found.num_rows == 0  # one silent day says little


def test_silence_is_not_counted_against_itself() -> None:
    known = without_silence(learned(2).belief, np.array([8.0, 100.0]))
    assert known.daily_units.tolist() == pytest.approx([28 / 20, 10.0])


def test_counts_say_how_often_books_are_false() -> None:
    counts = pa.table({"recorded": [5] * 50 + [0] * 10, "found": [0] * 10 + [5] * 40 + [0] * 10})
    one = evidence(["a"])
    some = Evidence(
        NOW, START, one.items, NO_TURNS, one.promotions, counts, one.hours, one.arrivals
    )
    assert false_share(one) == pytest.approx(0.02)
    assert false_share(some) == pytest.approx(11 / 100)
