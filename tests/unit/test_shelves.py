"""The outlook of shelves: what each thing that is known does to it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tillstream.demand.belief import Belief
from tillstream.demand.expiry import Goods
from tillstream.demand.rhythm import Rhythm
from tillstream.demand.risk import risk_by_lead
from tillstream.learning import shelves as module
from tillstream.learning import stockerror
from tillstream.learning.exposure import DAY_MS, HOUR_MS
from tillstream.learning.shelves import NEVER_MS, Chain, Outlook, Shelves, look_ahead

# A Tuesday at noon; an order of two days comes on Thursday at ten.
NOW = 1_773_100_800_000 + 12 * HOUR_MS
ARRIVES = NOW + 46 * HOUR_MS
CHAIN = Chain(Rhythm.flat(), DAY_MS, stockerror.exact())
NOTHING = Goods(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def goods(*rows: tuple[int, int, float]) -> Goods:
    row, at_ms, units = zip(*rows, strict=True)
    return Goods(np.array(row), np.array(at_ms), np.array(units, dtype=np.float64))


def shelves(n: int = 1, **changes: Any) -> Shelves:
    """Five left of what sells two a day, and no supplier is ever late."""
    usual = Shelves(
        as_of_ms=NOW,
        belief=Belief(np.full(n, 40.0), np.full(n, 20.0), np.full(n, 1.5)),
        recorded=np.full(n, 5),
        lead_days=np.full(n, 2.0),
        late_share=np.zeros(n),
        held_ms=np.zeros(n, np.int64),
        offset_ms=np.zeros(n, np.int64),
        truck_ms=np.full(n, 10 * HOUR_MS),
        life_days=np.zeros(n, np.int64),
        boost=np.ones(n),
        boost_until_ms=np.full(n, NOW),
        coming=NOTHING,
        came=NOTHING,
    )
    return replace(usual, **changes)


def risk_of(one: Shelves) -> float:
    return float(look_ahead(one, CHAIN).risk[0])


def risk(**changes: Any) -> float:
    return risk_of(shelves(**changes))


def test_the_plain_risk_is_that_of_demand_until_the_truck_comes() -> None:
    found = look_ahead(shelves(), CHAIN)
    expected = risk_by_lead(
        shelves().belief,
        stock=np.array([5.0]),
        lead_days=np.array([[46 / 24]]),
        lead_weight=np.ones((1, 1)),
    )
    assert found.risk == pytest.approx(expected[:, 0])
    assert found.arrives_ms.tolist() == [ARRIVES]
    assert found.horizon_days[0] == pytest.approx(46 / 24)
    assert found.next_receipt_ms.tolist() == [NEVER_MS]


def test_each_thing_that_is_known_moves_the_risk_its_way() -> None:
    plain = risk()
    assert risk(coming=goods((0, NOW + DAY_MS, 20.0))) < plain / 2
    assert risk(coming=goods((0, ARRIVES + HOUR_MS, 20.0))) == pytest.approx(plain)
    assert risk(late_share=np.array([0.5])) > plain
    assert risk(held_ms=np.array([DAY_MS])) > plain
    assert risk(boost=np.array([2.0]), boost_until_ms=np.array([ARRIVES])) > plain
    assert risk(recorded=np.array([0])) == 1.0
    assert risk(recorded=np.array([-4])) == 1.0


def test_goods_may_come_late() -> None:
    coming = goods((0, NOW + DAY_MS, 20.0))
    late = replace(CHAIN, late_ms=2 * DAY_MS)

    def found(share: float) -> float:
        shelf = shelves(coming=coming, late_share=np.array([share]))
        return float(look_ahead(shelf, late).risk[0])

    assert found(0.0) < found(0.5) < found(1.0)
    # Late for sure, they come two days later, which is a little before the order that is late too.
    alone = float(look_ahead(shelves(late_share=np.array([1.0])), late).risk[0])
    assert 0.5 * alone < found(1.0) < alone


def test_an_order_may_come_after_the_goods_expire() -> None:
    # They keep until the order is there, but not for a day more.
    plenty = shelves(
        recorded=np.array([50]), life_days=np.array([4]), came=goods((0, NOW - DAY_MS, 50.0))
    )
    assert look_ahead(plenty, CHAIN).spoilt[0] < 1e-6
    late_at_times = replace(plenty, late_share=np.array([0.25]))
    assert look_ahead(late_at_times, CHAIN).spoilt[0] == pytest.approx(0.25)


@given(share=st.floats(0.0, 1.0))
def test_what_expires_for_sure_is_no_more_than_sure(share: float) -> None:
    goner = shelves(
        recorded=np.array([50]),
        life_days=np.array([1]),
        came=goods((0, NOW - DAY_MS, 50.0)),
        late_share=np.array([share]),
    )
    assert 1.0 - 1e-12 <= risk_of(goner) <= 1.0


def test_the_longer_a_supplier_stays_away_the_longer_he_is_expected_to() -> None:
    def held(days: int) -> float:
        coming = goods((0, NOW - 2 * HOUR_MS, 20.0))
        return risk(coming=coming, held_ms=np.array([days * DAY_MS]))

    assert held(0) < held(1) < held(4) < held(12)


def test_wrong_books_are_known_of() -> None:
    recorded = np.full(400, 5)
    found = np.where(np.arange(400) % 5 == 0, 1, 5)
    wrong = replace(CHAIN, stock_error=stockerror.learned(recorded, found))
    assert look_ahead(shelves(), wrong).risk[0] > risk()


def test_what_expires_before_the_order_comes_empties_the_shelf() -> None:
    fresh = goods((0, NOW - DAY_MS, 5.0))
    found = look_ahead(shelves(life_days=np.array([2]), came=fresh), CHAIN)
    assert found.spoilt[0] == pytest.approx(1.0)
    assert found.risk[0] == pytest.approx(1.0)
    assert risk(life_days=np.array([20]), came=fresh) == pytest.approx(risk())


def test_an_overdue_order_comes_with_the_next_truck() -> None:
    found = look_ahead(shelves(coming=goods((0, NOW - 2 * HOUR_MS, 20.0))), CHAIN)
    assert found.next_receipt_ms.tolist() == [NOW + 22 * HOUR_MS]
    assert found.coming_units.tolist() == [20.0]


def test_an_overdue_order_may_not_come_with_the_next_truck_either() -> None:
    late = replace(CHAIN, late_ms=3 * DAY_MS)
    coming = goods((0, NOW - 2 * HOUR_MS, 20.0))
    with_it = float(look_ahead(shelves(coming=coming), replace(CHAIN, late_ms=0)).risk[0])
    found = float(look_ahead(shelves(coming=coming), late).risk[0])
    assert found == pytest.approx((with_it + risk()) / 2, rel=0.05)


def test_a_shelf_is_empty_by_sales_or_by_spoilage_of_the_same_late_order() -> None:
    """Late, it comes after everything expired; in time, what is left may sell out."""
    share = 0.2
    shelf = shelves(
        recorded=np.array([8]),
        life_days=np.array([4]),
        came=goods((0, NOW - DAY_MS, 8.0)),
        late_share=np.array([share]),
    )
    in_time = risk(recorded=np.array([8]), life_days=np.array([4]), came=shelf.came)
    found = look_ahead(shelf, CHAIN)
    assert found.risk[0] == pytest.approx((1 - share) * in_time + share, abs=2e-3)


def test_lost_units_are_those_beyond_what_comes() -> None:
    plain = look_ahead(shelves(recorded=np.array([0])), CHAIN).lost_units[0]
    assert plain == pytest.approx(2 * 46 / 24, rel=1e-3)
    with_goods = shelves(recorded=np.array([0]), coming=goods((0, NOW + DAY_MS, 500.0)))
    assert look_ahead(with_goods, CHAIN).lost_units[0] == pytest.approx(2.0, rel=1e-3)


def test_chunks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 50
    many = shelves(
        n,
        recorded=np.arange(n),
        held_ms=np.where(np.arange(n) % 7 == 0, DAY_MS, 0),
        life_days=np.where(np.arange(n) % 3 == 0, 4, 0),
        coming=goods(*((i, NOW + (1 + i % 30) * HOUR_MS, 4.0) for i in range(0, n, 2))),
        came=goods(*((i, NOW - DAY_MS, 3.0) for i in range(0, n, 3))),
    )
    whole = look_ahead(many, CHAIN)
    monkeypatch.setattr(module, "_CHUNK", 8)
    parts = look_ahead(many, CHAIN, threads=2)
    for name in Outlook.__slots__:
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name
