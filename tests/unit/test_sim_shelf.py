"""The arithmetic of shelves, against a loop that does one thing after another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.world.shelf import Flow, Flows, Runs, Settled, settle

_IN = (Flow.TRANSFER_IN, Flow.DELIVERY, Flow.RETURN)
_OUT = (Flow.SALE, Flow.THEFT, Flow.DAMAGE, Flow.TRANSFER_OUT)

Row = tuple[int, int, int, int, Flow]


@st.composite
def _rows(draw: st.DrawFn) -> Row:
    kind = draw(st.sampled_from([*_IN, *_OUT, Flow.WRITE_OFF, Flow.COUNT]))
    units = draw(st.integers(1, 40))
    wanted = units if kind in _IN else -units if kind in _OUT else 0
    booked = draw(st.integers(0, 40)) if kind in _IN else draw(st.integers(-3, 3))
    return draw(st.integers(0, 5_000)), draw(st.integers(0, 4)), wanted, booked, kind


def _flows(rows: list[Row]) -> Flows:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    flows = Flows(*columns)
    return flows.take(flows.order())


def _settled(flows: Flows, physical: list[int], recorded: list[int]) -> tuple[Runs, Settled]:
    runs = Runs.of(flows.position)
    here = flows.position[runs.starts]
    return runs, settle(flows, runs, np.array(physical)[here], np.array(recorded)[here])


@given(
    rows=st.lists(_rows(), min_size=1, max_size=60),
    physical=st.lists(st.integers(0, 60), min_size=5, max_size=5),
    recorded=st.lists(st.integers(-5, 60), min_size=5, max_size=5),
)
def test_all_at_once_is_one_after_another(
    rows: list[Row], physical: list[int], recorded: list[int]
) -> None:
    flows = _flows(rows)
    _, settled = _settled(flows, physical, recorded)
    truly, books = list(physical), list(recorded)
    for row, (at, wanted, booked, kind) in enumerate(
        zip(flows.position, flows.wanted, flows.booked, flows.kind, strict=True)
    ):
        before = truly[at]
        moved = max(wanted, -before)
        truly[at] += moved
        if kind in _IN:
            books[at] += booked
        elif kind in (Flow.WRITE_OFF, Flow.COUNT):
            books[at] = max(0, truly[at] + booked)
        elif kind != Flow.THEFT:
            books[at] += moved
        assert settled.moved[row] == moved
        assert settled.physical[row] == truly[at]
        assert settled.recorded[row] == books[at]
        assert settled.emptied[row] == (before > 0 and truly[at] == 0)
        assert settled.filled[row] == (before == 0 and truly[at] > 0)


@given(
    rows=st.lists(_rows(), min_size=1, max_size=60),
    physical=st.lists(st.integers(0, 60), min_size=5, max_size=5),
)
def test_units_are_neither_made_nor_lost(rows: list[Row], physical: list[int]) -> None:
    flows = _flows(rows)
    runs, settled = _settled(flows, physical, [0] * 5)
    assert settled.physical.min() >= 0
    for start, end in zip(runs.starts, runs.ends, strict=True):
        moved = settled.moved[start : end + 1]
        assert physical[flows.position[start]] + moved.sum() == settled.physical[end]
        goods_in, goods_out = moved[moved > 0].sum(), -moved[moved < 0].sum()
        assert goods_out <= physical[flows.position[start]] + goods_in
    assert (np.abs(settled.moved) <= np.abs(flows.wanted)).all()


def test_goods_of_the_same_moment_come_in_before_they_go_out() -> None:
    flows = _flows([(7, 0, -3, 0, Flow.SALE), (7, 0, 5, 5, Flow.DELIVERY)])
    _, settled = _settled(flows, [0], [0])
    assert flows.kind.tolist() == [Flow.DELIVERY, Flow.SALE]
    assert settled.moved.tolist() == [5, -3]


@pytest.mark.parametrize("miscount", [0, 2, -99])
def test_a_count_sets_the_books_to_what_was_counted(miscount: int) -> None:
    flows = _flows([(1, 0, -2, 0, Flow.THEFT), (2, 0, 0, miscount, Flow.COUNT)])
    _, settled = _settled(flows, [10], [10])
    assert settled.recorded.tolist() == [10, max(0, 8 + miscount)]
