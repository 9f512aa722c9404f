"""Transfers between stores: who gives what to whom, and that nothing is made or lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tillstream.demand.transfers import Transfers, transfers


def match(
    group: list[int],
    surplus: list[int],
    need: list[int],
    urgency: list[float] | None = None,
    least_units: int = 1,
) -> Transfers:
    return transfers(
        group=np.array(group, dtype=np.int64),
        surplus=np.array(surplus, dtype=np.int64),
        need=np.array(need, dtype=np.int64),
        urgency=np.array(urgency or [0.0] * len(group)),
        least_units=least_units,
    )


def told(found: Transfers) -> list[tuple[int, int, int]]:
    """(giver, taker, units) of each."""
    return list(zip(found.giver.tolist(), found.taker.tolist(), found.units.tolist(), strict=True))


def test_need_is_met_from_the_largest_surplus_first() -> None:
    assert told(match([1, 1, 1], [3, 8, 0], [0, 0, 5])) == [(1, 2, 5)]
    assert told(match([1, 1, 1], [3, 8, 0], [0, 0, 10])) == [(1, 2, 8), (0, 2, 2)]


def test_most_urgent_is_served_first() -> None:
    assert told(match([1, 1, 1], [0, 6, 0], [4, 0, 4], [1.0, 0.0, 9.0])) == [
        (1, 2, 4),
        (1, 0, 2),
    ]


def test_equal_claims_go_by_their_place() -> None:
    assert told(match([1, 1, 1, 1], [0, 4, 4, 0], [4, 0, 0, 4])) == [(1, 0, 4), (2, 3, 4)]


def test_groups_do_not_mix() -> None:
    assert told(match([7, 3, 7, 3, 5], [9, 0, 0, 2, 9], [0, 5, 4, 0, 0])) == [(3, 1, 2), (0, 2, 4)]
    assert told(match([1, 2], [9, 0], [0, 9])) == []


def test_few_units_are_not_worth_a_journey() -> None:
    assert told(match([1, 1, 1], [8, 1, 0], [0, 0, 9], least_units=2)) == [(0, 2, 8)]
    each = transfers(
        group=np.array([1, 1, 2, 2]),
        surplus=np.array([5, 0, 5, 0]),
        need=np.array([0, 9, 0, 9]),
        urgency=np.zeros(4),
        least_units=np.array([0, 6, 0, 5]),
    )
    assert told(each) == [(2, 3, 5)]


def test_item_in_need_gives_nothing() -> None:
    assert told(match([1, 1], [5, 5], [3, 0])) == [(1, 0, 3)]
    assert told(match([1], [5], [3])) == []


@pytest.mark.parametrize("n", [0, 1])
def test_nobody_to_give_or_to_take(n: int) -> None:
    found = match([1] * n, [0] * n, [0] * n)
    assert len(found) == 0
    assert found.received(n).tolist() == found.sent(n).tolist() == [0] * n


ROWS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(-3, 30),
        st.integers(-3, 30),
        st.sampled_from([0.0, 1.0, 2.5]),
    ),
    max_size=40,
)


@given(ROWS, st.integers(1, 4))
def test_nothing_is_created_and_nobody_is_made_short(
    rows: list[tuple[int, int, int, float]], least_units: int
) -> None:
    group, surplus, need = (np.array([row[k] for row in rows], dtype=np.int64) for k in range(3))
    urgency = np.array([row[3] for row in rows])
    found = transfers(
        group=group, surplus=surplus, need=need, urgency=urgency, least_units=least_units
    )
    sent, received = found.sent(len(rows)), found.received(len(rows))
    assert sent.sum() == received.sum() == found.units.sum()
    assert (group[found.giver] == group[found.taker]).all()
    assert (found.units >= least_units).all()
    assert (sent <= np.maximum(surplus, 0)).all()
    assert (received <= np.maximum(need, 0)).all()
    assert (sent[need > 0] == 0).all()
    if least_units == 1:  # all that can be moved is
        for one in set(group.tolist()):
            there = group == one
            wanted = np.maximum(need[there], 0).sum()
            spare = surplus[there & (need <= 0)]
            assert received[there].sum() == min(wanted, np.maximum(spare, 0).sum())
    again = transfers(
        group=group, surplus=surplus, need=need, urgency=urgency, least_units=least_units
    )
    assert told(again) == told(found)
