"""The smallest whole number that is enough."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tillstream.demand.search import smallest_whole

_CASE = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**6))


@given(st.lists(_CASE, min_size=1, max_size=20))
def test_it_is_found_from_wherever_the_search_begins(cases: list[tuple[int, int, int]]) -> None:
    wanted, near, step = (np.array(column, dtype=np.float64) for column in zip(*cases, strict=True))
    found = smallest_whole(lambda rows, x: x >= wanted[rows], near, step)
    assert found.tolist() == wanted.tolist()


def test_a_good_guess_costs_two_looks_and_a_guess_one_too_low_as_well() -> None:
    looks: list[int] = []

    def enough(rows: NDArray[np.int64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
        looks.extend(rows.tolist())
        return np.asarray(x >= 7.0)

    assert smallest_whole(enough, np.array([7.0, 6.0]), np.ones(2)).tolist() == [7.0, 7.0]
    assert sorted(looks) == [0, 0, 1, 1]


def test_no_items_need_no_look() -> None:
    none = np.empty(0)
    assert len(smallest_whole(lambda rows, x: x > 0, none, none)) == 0
