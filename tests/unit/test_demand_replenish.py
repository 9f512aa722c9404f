"""Order levels and quantities by hand, by brute force, and their properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tillstream.demand.belief import Belief
from tillstream.demand.horizon import Horizon
from tillstream.demand.replenish import (
    HIGHEST_SERVICE,
    HOLDING_PER_YEAR,
    LOWEST_SERVICE,
    Floats,
    Limits,
    critical_ratio,
    economic_service_level,
    lead_shortfall,
    levels,
    order_units,
    overage_cost,
    room,
)

INF = float("inf")


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def one(a: float, b: float, dispersion: float = 1.0) -> Belief:
    return Belief(array(a), array(b), array(dispersion))


def horizon(*leads: tuple[float, float], review: float = 1.0) -> Horizon:
    """Of one item: (days, weight) of each lead time."""
    days, weight = zip(*leads, strict=True)
    return Horizon(np.array([days]), np.array([weight]), array(review))


def limits(
    pack: int = 1, least: int = 1, capacity: float = INF, life: float = INF, n: int = 1
) -> Limits:
    return Limits(
        np.full(n, pack), np.full(n, least), np.full(n, float(capacity)), np.full(n, float(life))
    )


def chance_of_at_most(
    a: float, b: float, dispersion: float, leads: list[tuple[float, float]], more: float, x: int
) -> float:
    """P(demand over lead + `more` <= x), from scipy's negative binomial."""
    total = 0.0
    for days, weight in leads:
        over = days + more
        excess = dispersion - 1 + over / b
        total += weight * float(stats.nbinom.cdf(x, over * a / b / excess, 1 / (1 + excess)))
    return total


CASES = [
    (0.2, 7.0, 1.0, [(1.0, 1.0)]),
    (30.0, 10.0, 2.0, [(2.0, 0.9), (4.0, 0.1)]),
    (400.0, 5.0, 3.0, [(1.0, 0.5), (3.0, 0.3), (9.0, 0.2)]),
    (1e-9, 7.0, 1.0, [(2.0, 1.0)]),
]


@pytest.mark.parametrize("service", [0.5, 0.9, 0.97, 0.99])
@pytest.mark.parametrize(("a", "b", "dispersion", "leads"), CASES)
def test_reorder_point_is_the_smallest_that_reaches_the_service_level(
    a: float, b: float, dispersion: float, leads: list[tuple[float, float]], service: float
) -> None:
    found = levels(one(a, b, dispersion), horizon(*leads), service_level=array(service))
    reached = next(
        x
        for x in range(5_000)
        if chance_of_at_most(a, b, dispersion, leads, 1.0, x) >= service - 1e-12
    )
    assert found.reorder_point.tolist() == [reached]
    mean = sum(weight * (days + 1.0) for days, weight in leads) * a / b
    assert found.safety_stock[0] == pytest.approx(reached - mean)
    assert found.order_up_to.tolist() == [reached]


def test_cycle_adds_its_mean_demand_to_the_level() -> None:
    found = levels(one(30.0, 10.0), horizon((2.0, 1.0)), service_level=array(0.95), cycle_days=2.5)
    assert (found.order_up_to - found.reorder_point).tolist() == [8]


def test_items_keep_apart() -> None:
    together = levels(
        Belief(array(30, 0.2), array(10, 7), array(2, 1)),
        Horizon(np.array([[2, 4], [1, 1]]), np.array([[0.9, 0.1], [1, 0]]), array(1, 1)),
        service_level=array(0.9, 0.99),
    )
    first = levels(one(30, 10, 2), horizon((2, 0.9), (4, 0.1)), service_level=array(0.9))
    second = levels(one(0.2, 7), horizon((1, 1.0)), service_level=array(0.99))
    assert together.reorder_point.tolist() == [first.reorder_point[0], second.reorder_point[0]]


def test_critical_ratio_by_hand() -> None:
    found = critical_ratio(array(3.0, 1.0, 1.0, -1.0, 0.0), array(1.0, 0.0, 9.0, 1.0, 0.0))
    assert found.tolist() == [0.75, HIGHEST_SERVICE, *[LOWEST_SERVICE] * 3]


def test_what_keeps_costs_only_its_holding() -> None:
    cost = overage_cost(
        one(20.0, 10.0),
        horizon((2.0, 1.0), review=7.0),
        units=array(30.0),
        unit_cost=array(5.0),
        shelf_life_days=array(INF),
    )
    assert cost[0] == pytest.approx(5.0 * HOLDING_PER_YEAR * 7 / 365)


@pytest.mark.parametrize("life", [0.5, 1.0, 2.0, 6.0])
def test_what_spoils_costs_its_chance_to_be_left_at_the_end_of_its_life(life: float) -> None:
    leads = [(2.0, 0.8), (4.0, 0.2)]
    cost = overage_cost(
        one(20.0, 10.0, 1.5),
        horizon(*leads),
        units=array(9.0),
        unit_cost=array(5.0),
        shelf_life_days=array(life),
    )
    left, spoiled = (chance_of_at_most(20, 10, 1.5, leads, more, 9) for more in (1.0, life))
    held = HOLDING_PER_YEAR / 365
    assert cost[0] == pytest.approx(5.0 * (held + min(spoiled / left, 1.0)))
    if life <= 1.0:
        assert cost[0] == pytest.approx(5.0 * (1 + held))


@pytest.mark.parametrize("life", [2.0, 4.0, 8.0])
def test_service_level_stops_where_one_more_unit_no_longer_pays(life: float) -> None:
    """Brute force over positions: a unit more earns its margin when it is wanted in the horizon;
    left over it is held, and spoils by chance."""
    leads = [(1.0, 0.9), (3.0, 0.1)]
    margin, cost, held = 2.0, 5.0, HOLDING_PER_YEAR / 365
    for units in range(200):
        enough = chance_of_at_most(30, 10, 2.0, leads, 1.0, units)
        spoils = chance_of_at_most(30, 10, 2.0, leads, life, units)
        if (1 - enough) * margin <= cost * (enough * held + spoils):
            break
    ratio = margin / (margin + cost * (held + spoils / enough))
    found = economic_service_level(
        one(30.0, 10.0, 2.0),
        horizon(*leads),
        unit_cost=array(cost),
        unit_price=array(cost + margin),
        shelf_life_days=array(life),
    )
    assert found[0] == pytest.approx(max(ratio, LOWEST_SERVICE))


def test_dear_and_lasting_goods_are_served_better_than_what_spoils() -> None:
    n = 3
    found = economic_service_level(
        Belief(np.full(n, 30.0), np.full(n, 10.0), np.full(n, 2.0)),
        Horizon(np.full((n, 1), 2.0), np.ones((n, 1)), np.ones(n)),
        unit_cost=np.full(n, 5.0),
        unit_price=array(7.0, 7.0, 12.0),
        shelf_life_days=array(3.0, INF, 3.0),
    )
    assert found[0] < found[2] < found[1] == HIGHEST_SERVICE


def test_room_by_hand() -> None:
    """Three a day and two days until delivery: six are gone by then."""
    known, when = one(30.0, 10.0), horizon((2.0, 0.5), (4.0, 0.5))

    def found(position: float, **given: float) -> float:
        return float(room(known, when, limits(**given), position=array(position))[0])  # type: ignore[arg-type]

    assert found(10.0) == INF
    assert found(10.0, capacity=20) == 20 + 6 - 10
    assert found(30.0, capacity=20) == 0.0
    # Nine are sold before it comes on average: the last of ten stands before it.
    assert found(10.0, life=5.0) == 15 - 1
    assert found(0.0, life=5.0) == 15
    assert found(30.0, life=5.0) == 0.0
    assert found(10.0, life=5.0, capacity=12) == 8


@pytest.mark.parametrize(
    ("short", "space", "pack", "least", "units"),
    [
        (0.0, INF, 12, 12, 0),
        (1.0, INF, 12, 1, 12),
        (12.0, INF, 12, 1, 12),
        (13.0, INF, 12, 1, 24),
        (13.0, 23.0, 12, 1, 12),
        (13.0, 11.0, 12, 1, 0),
        (1.0, INF, 6, 20, 24),
        (1.0, 20.0, 6, 20, 0),
        (0.5, INF, 1, 1, 1),
    ],
)
def test_order_is_the_fewest_packs_that_fit(
    short: float, space: float, pack: int, least: int, units: int
) -> None:
    found = order_units(limits(pack, least), short=array(short), room=array(space))
    assert found.tolist() == [units]


def test_shortfall_averages_over_lead_times() -> None:
    """An order on its way is there for the late lead time only."""
    when = horizon((1.0, 0.75), (3.0, 0.25))
    risk, lost = lead_shortfall(one(3.0, 1.0), when, available=np.array([[2.0, 8.0]]))
    expected_risk = expected_lost = 0.0
    for days, weight, stock in ((1.0, 0.75, 2), (3.0, 0.25, 8)):
        demand = stats.nbinom(3.0, 1 / (1 + days))
        units = np.arange(2_000)
        expected_risk += weight * float(demand.sf(stock - 1))
        expected_lost += weight * float(np.sum(np.maximum(units - stock, 0) * demand.pmf(units)))
    assert risk[0] == pytest.approx(expected_risk)
    assert lost[0] == pytest.approx(expected_lost)


@pytest.mark.parametrize("a", [1e-9, 1e5])
@pytest.mark.parametrize("lead", [0.0, 60.0])
def test_extremes_give_finite_answers(a: float, lead: float) -> None:
    known, when = one(a, 1.0, 50.0), horizon((lead, 1.0))
    service = economic_service_level(
        known, when, unit_cost=array(0.0), unit_price=array(0.0), shelf_life_days=array(1.0)
    )
    found = levels(known, when, service_level=service)
    assert LOWEST_SERVICE <= service[0] <= HIGHEST_SERVICE
    assert 0 <= found.reorder_point[0] < 1e8


RATES = st.floats(0.01, 200.0)
DISPERSIONS = st.floats(1.0, 10.0)
SERVICES = st.floats(0.5, 0.99)
DAYS = st.floats(0.1, 20.0)


@given(RATES, DISPERSIONS, SERVICES, DAYS, st.floats(1.01, 3.0))
def test_more_demand_longer_leads_or_better_service_never_lower_the_reorder_point(
    rate: float, dispersion: float, service: float, days: float, factor: float
) -> None:
    def point(rate: float = rate, days: float = days, service: float = service) -> int:
        known = one(7 * rate, 7.0, dispersion)
        when = horizon((days, 0.9), (days + 2, 0.1))
        return int(levels(known, when, service_level=array(service)).reorder_point[0])

    least = point()
    assert point(rate=rate * factor) >= least
    assert point(days=days * factor) >= least
    assert point(service=min(service * factor, 0.995)) >= least


@given(
    rate=RATES,
    position=st.integers(0, 400),
    pack=st.integers(1, 24),
    least=st.integers(1, 60),
    capacity=st.integers(1, 500),
    life=st.sampled_from([2.0, 7.0, INF]),
)
def test_order_is_whole_packs_between_the_level_and_the_limits(
    rate: float, position: int, pack: int, least: int, capacity: int, life: float
) -> None:
    known, when = one(7 * rate, 7.0, 2.0), horizon((1.0, 0.9), (3.0, 0.1))
    held = limits(pack, least, capacity, life)
    level = int(levels(known, when, service_level=array(0.95)).order_up_to[0])
    space = room(known, when, held, position=array(float(position)))
    short = array(float(max(level - position, 0)))
    units = int(order_units(held, short=short, room=space)[0])
    assert units % pack == 0
    assert units == 0 or units >= least
    assert units <= space[0]
    if units:
        assert position + units <= capacity + rate * 1.0
        assert units <= rate * life
        assert units - pack < max(short[0], least)  # a pack less would not do
    enough = -(-max(int(short[0]), least) // pack) * pack
    if short[0] > 0 and space[0] >= enough:
        assert position + units >= level
