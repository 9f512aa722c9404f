"""The stock-out model against scipy, brute force and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from streaming.risk import belief, levels
from tillstream.demand.belief import Belief, Floats
from tillstream.demand.risk import (
    FAR_DAYS,
    demand_at_least,
    demand_quantile,
    expected_shortfall,
    time_to_empty,
)

DRAWS = 200_000


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def one(a: float, b: float, dispersion: float = 1.0) -> Belief:
    return Belief(array(a), array(b), array(dispersion))


def simulated_demand(a: float, b: float, dispersion: float, days: float) -> Floats:
    """Demand drawn as told, not as computed: a rate from the belief, then demand of that rate
    whose variance is `dispersion` times its mean."""
    rng = np.random.default_rng(7)
    mean = rng.gamma(a, 1.0 / b, DRAWS) * days
    if dispersion > 1.0:
        mean = rng.gamma(mean / (dispersion - 1.0), dispersion - 1.0)
    return rng.poisson(mean).astype(np.float64)


@pytest.mark.parametrize(("a", "b", "days"), [(0.4, 7.0, 2.0), (70.0, 14.0, 1.5), (3.0, 0.5, 9.0)])
def test_demand_without_clumps_is_gamma_poisson(a: float, b: float, days: float) -> None:
    units = np.arange(0, 60, dtype=np.float64)
    n = len(units)
    beliefs = Belief(np.full(n, a), np.full(n, b), np.ones(n))
    exact = stats.nbinom.sf(units - 1, a, b / (b + days))
    assert demand_at_least(beliefs, np.full(n, days), units) == pytest.approx(exact, abs=1e-12)


def test_variance_three_times_the_mean_gives_the_true_tail() -> None:
    """Mean 10, variance/mean 3, the rate known well: P(D >= 18) is 0.096, where a plain Poisson
    says 0.014."""
    sure = 1e9
    risk = demand_at_least(one(10 * sure, sure, 3.0), array(1.0), array(18.0))
    assert risk[0] == pytest.approx(0.096, abs=0.0005)
    poisson = demand_at_least(one(10 * sure, sure), array(1.0), array(18.0))
    assert poisson[0] == pytest.approx(0.014, abs=0.0005)


@pytest.mark.parametrize("on_hand", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("dispersion", [1.0, 2.5])
@pytest.mark.parametrize(("a", "b"), [(2.0, 7.0), (40.0, 10.0)])
def test_risk_and_shortfall_agree_with_simulation(
    a: float, b: float, dispersion: float, on_hand: float
) -> None:
    drawn = simulated_demand(a, b, dispersion, days=3.0)
    known = one(a, b, dispersion)
    risk = demand_at_least(known, array(3.0), array(on_hand))[0]
    assert risk == pytest.approx(np.mean(drawn >= on_hand), abs=0.01)
    lost = expected_shortfall(known, array(3.0), array(on_hand))[0]
    simulated = np.maximum(drawn - on_hand, 0.0)
    error = 4 * simulated.std() / np.sqrt(DRAWS)
    assert lost == pytest.approx(simulated.mean(), abs=max(0.02 * simulated.mean(), error, 0.01))


def test_shortfall_is_the_exact_sum() -> None:
    units = np.arange(3_000)
    known = one(5.0, 2.0, 1.0)
    mass = stats.nbinom.pmf(units, 5.0, 2.0 / 5.0)
    for stock in (0, 1, 2, 7, 30):
        exact = float(np.sum(np.maximum(units - stock, 0) * mass))
        found = expected_shortfall(known, array(3.0), array(stock))[0]
        assert found == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("probability", [0.05, 0.5, 0.95, 0.999])
def test_quantile_is_the_smallest_that_reaches(probability: float) -> None:
    rates = np.array([(0.01, 7.0, 1.0), (2.0, 7.0, 1.0), (90.0, 3.0, 4.0), (0.3, 0.5, 9.0)])
    known = Belief(rates[:, 0], rates[:, 1], rates[:, 2])
    days = np.full(len(rates), 3.0)
    found = demand_quantile(known, days, probability)
    mean = days * known.daily_units
    excess = known.dispersion - 1 + days / known.b
    exact = stats.nbinom.ppf(probability, mean / excess, 1 / (1 + excess))
    assert found.tolist() == np.asarray(exact).astype(int).tolist()


@pytest.mark.parametrize("dispersion", [1.0, 4.0])
def test_time_to_empty_is_the_time_at_which_the_risk_is_that_high(dispersion: float) -> None:
    """For large stock clumps are small beside it, so both views of the same process agree."""
    known = one(200.0, 10.0, dispersion)
    for probability in (0.1, 0.5, 0.9):
        days = time_to_empty(known, array(400.0), probability)
        assert demand_at_least(known, days, array(400.0))[0] == pytest.approx(probability, abs=0.03)


@pytest.mark.parametrize("on_hand", [0.0, -1.0, -500.0])
def test_what_is_gone_lasts_no_time(on_hand: float) -> None:
    result = levels(one(2.0, 7.0), on_hand=array(on_hand), lead_time_days=array(2.0))
    assert result.days_of_cover[0] == 0.0
    assert result.empty_p90_days[0] == 0.0
    assert expected_shortfall(one(2.0, 7.0), array(2.0), array(on_hand))[0] == pytest.approx(4 / 7)


def test_levels_of_an_ordinary_shelf() -> None:
    result = levels(one(14.0, 7.0), on_hand=array(6.0), lead_time_days=array(2.0))
    assert result.days_of_cover[0] == pytest.approx(3.0)
    assert result.reorder_point[0] == stats.nbinom.ppf(0.95, 14.0, 7 / 10)
    assert result.safety_stock[0] == pytest.approx(result.reorder_point[0] - 6.0)
    assert result.empty_p10_days[0] < result.empty_p50_days[0] < result.empty_p90_days[0]


def test_belief_is_prior_plus_evidence_scaled_by_its_clumps() -> None:
    known = belief(
        prior_daily_units=array(2.0, 2.0, 2.0),
        prior_weight_days=7.0,
        units=array(30.0, 30.0, -5.0),
        exposure_days=array(10.0, 10.0, 10.0),
        dispersion=array(1.0, 3.0, 0.5),
    )
    assert known.a.tolist() == [44.0, 24.0, 14.0]
    assert known.b.tolist() == [17.0, pytest.approx(7 + 10 / 3), 17.0]
    assert known.dispersion.tolist() == [1.0, 3.0, 1.0]


@pytest.mark.parametrize("lead_time_days", [0.0, 2.0])
@pytest.mark.parametrize("rate", [0.0, 1e-9, 1e4])
@pytest.mark.parametrize("on_hand", [0.0, 1.0, 2e9])
def test_extremes_give_finite_answers(rate: float, on_hand: float, lead_time_days: float) -> None:
    known = belief(
        prior_daily_units=array(rate),
        prior_weight_days=7.0,
        units=array(0.0),
        exposure_days=array(0.0),
        dispersion=array(1.0),
    )
    result = levels(known, on_hand=array(on_hand), lead_time_days=array(lead_time_days))
    for name in result.__slots__:
        assert np.isfinite(getattr(result, name)).all(), name
    risk = demand_at_least(known, array(lead_time_days), array(on_hand))[0]
    assert 0.0 <= risk <= 1.0
    assert 0.0 <= result.days_of_cover[0] <= FAR_DAYS
    if on_hand > 0 and (rate < 1.0 or on_hand > 1e6):
        assert risk == pytest.approx(0.0, abs=1e-6)


RATES = st.floats(0.01, 200.0)
DISPERSIONS = st.floats(1.0, 10.0)
STOCKS = st.integers(1, 500)
DAYS = st.floats(0.1, 30.0)


@given(RATES, DISPERSIONS, STOCKS, DAYS)
def test_more_stock_is_never_riskier(
    rate: float, dispersion: float, stock: int, days: float
) -> None:
    known = one(7 * rate, 7.0, dispersion)
    less, more = (demand_at_least(known, array(days), array(s))[0] for s in (stock, stock + 1))
    assert 0.0 <= more <= less <= 1.0
    less, more = (expected_shortfall(known, array(days), array(s))[0] for s in (stock, stock + 1))
    assert more <= less + 1e-9 * max(1.0, less)


@given(RATES, DISPERSIONS, STOCKS, DAYS, st.floats(1.01, 3.0))
def test_longer_lead_time_or_more_demand_is_never_safer(
    rate: float, dispersion: float, stock: int, days: float, factor: float
) -> None:
    known = one(7 * rate, 7.0, dispersion)
    risk = demand_at_least(known, array(days), array(stock))[0]
    assert demand_at_least(known, array(days * factor), array(stock))[0] >= risk - 1e-9
    busier = one(7 * rate * factor, 7.0, dispersion)
    assert demand_at_least(busier, array(days), array(stock))[0] >= risk - 1e-9
