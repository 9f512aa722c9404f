"""Stock-out risk against simulation, brute force and what must hold for any shelf."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from tillstream.demand import risk as module
from tillstream.demand.belief import Belief, Floats
from tillstream.demand.passage import TABLE_UNITS, sold_within
from tillstream.demand.receipts import Receipts, follow
from tillstream.demand.risk import (
    LateReceipts,
    beta_log_odds,
    demand_at_least,
    demand_quantile,
    expected_shortfall,
    risk_by_lead,
    time_to_empty,
)

DRAWS = 100_000
CASES = 100


def array(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def one(a: float, b: float, dispersion: float = 1.0) -> Belief:
    return Belief(array(a), array(b), array(dispersion))


def stockout_risk(belief: Belief, *, lead_weight: Floats, **known: Any) -> Floats:
    """Over when an order comes, (n,)."""
    by_lead = risk_by_lead(belief, lead_weight=lead_weight, **known)
    return np.asarray((lead_weight * by_lead).sum(1))


def risk_of(
    belief: Belief, stock: float, lead: float, receipts: Sequence[tuple[float, float]] = ()
) -> float:
    """Of one item; receipts are (days from now, units)."""
    due = sorted(receipts)
    found = stockout_risk(
        belief,
        stock=array(stock),
        lead_days=np.array([[lead]]),
        lead_weight=np.ones((1, 1)),
        receipts=Receipts(
            np.zeros(len(due), dtype=np.int64),
            array(*(at for at, _ in due)),
            array(*(units for _, units in due)),
        ),
    )
    return float(found[0])


def simulated(
    belief: tuple[float, float, float], stops: list[tuple[float, float]], rng: np.random.Generator
) -> float:
    """Share of draws in which the units sold reach a level by its time; `stops` are (time, level).
    Demand as told, not as computed: a rate from the belief, then demand of that rate whose
    variance is `dispersion` times its mean, independent from span to span."""
    a, b, dispersion = belief
    rate = rng.gamma(a, 1.0 / b, DRAWS)
    sold, empty, before = np.zeros(DRAWS), np.zeros(DRAWS, dtype=bool), 0.0
    for at, level in stops:
        mean = rate * (at - before)
        if dispersion > 1.0:
            mean = rng.gamma(np.maximum(mean, 1e-300) / (dispersion - 1.0), dispersion - 1.0)
        sold += rng.poisson(mean)
        empty |= sold >= level
        before = at
    return float(empty.mean())


def test_risk_agrees_with_simulation_for_all_kinds_of_shelves() -> None:
    """Rates of 0.05 to 8 a day known badly or well, dispersion 1 to 4, up to three receipts."""
    rng = np.random.default_rng(5)
    n = CASES
    rate = np.exp(rng.uniform(np.log(0.05), np.log(8.0), n))
    a = np.exp(rng.uniform(np.log(0.15), np.log(60.0), n))
    d = np.where(rng.random(n) < 0.3, 1.0, rng.uniform(1.0, 4.0, n))
    lead = rng.uniform(0.3, 10.0, n)
    mean = lead * rate
    noise = rng.normal(size=n) * 0.7 * np.sqrt(mean * (d + lead * rate / a))
    stock = np.maximum(np.round(mean * rng.uniform(0.2, 1.2, n) + noise), 1.0)
    coming = np.arange(3) < rng.integers(0, 4, n)[:, None]
    at = np.sort(rng.beta(1.3, 0.9, (n, 3)) * lead[:, None], axis=1)
    units = np.maximum(np.round(rng.exponential(0.5, (n, 3)) * mean[:, None]), 1.0)
    found = stockout_risk(
        Belief(a, a / rate, d),
        stock=stock,
        lead_days=lead[:, None],
        lead_weight=np.ones((n, 1)),
        receipts=Receipts(np.nonzero(coming)[0], at[coming], units[coming]),
    )
    for i in range(n):
        due = coming[i]
        levels = stock[i] + np.concatenate([[0.0], np.cumsum(units[i, due])])
        stops = list(zip([*at[i, due], lead[i]], levels, strict=True))
        drawn = simulated((a[i], a[i] / rate[i], d[i]), stops, rng)
        assert found[i] == pytest.approx(drawn, abs=0.007), i
    assert np.ptp(found) > 0.8


def polya_risk(a: float, b: float, stops: list[tuple[float, int]]) -> float:
    """The recursion as it is written: demand after t given k sold is NB with a + k and b + t."""
    alive = np.zeros(stops[-1][1])
    alive[0] = 1.0
    before = 0.0
    for at, level in stops:
        after = np.zeros_like(alive)
        for k in np.flatnonzero(alive):
            p = (b + before) / (b + at)
            after[k:] += alive[k] * stats.nbinom.pmf(np.arange(len(alive) - k), a + k, p)
        after[level:] = 0.0
        alive, before = after, at
    return 1.0 - float(alive.sum())


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.5), (1.5, 0.2), (4.0, 6.0), (300.0, 90.0)])
@pytest.mark.parametrize(
    "stops",
    [
        [(1.0, 1), (4.0, 3)],
        [(0.0, 2), (5.0, 9)],
        [(1.0, 5), (2.5, 8), (3.0, 30)],
        [(2.0, 20), (6.0, 26), (9.0, 27), (9.5, 60)],
    ],
)
def test_without_clumps_the_path_is_the_polya_recursion(
    a: float, b: float, stops: list[tuple[float, int]]
) -> None:
    times, levels = (np.array([column], dtype=float) for column in zip(*stops, strict=True))
    assert follow(one(a, b), times, levels)[0] == pytest.approx(polya_risk(a, b, stops), abs=1.5e-3)


def test_goods_that_come_late_do_not_help_before() -> None:
    """On hand 2 and 20 coming at 0.9 of the horizon: lumped together there is no risk at all."""
    sure = one(1e6, 1e6)
    assert risk_of(sure, 2, 4.32, [(0.9 * 4.32, 20)]) == pytest.approx(0.90, abs=0.005)
    assert risk_of(sure, 22, 4.32) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("stock", [1, 2, 3, 7, 40])
def test_without_receipts_and_clumps_the_risk_is_gamma_poisson(stock: int) -> None:
    exact = stats.nbinom.sf(stock - 1, 1.7, 3.0 / 8.0)
    assert risk_of(one(1.7, 3.0), stock, 5.0) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("dispersion", [1.3, 2.0, 4.0])
@pytest.mark.parametrize("stock", [1, 2, 5, 30, TABLE_UNITS + 60])
def test_clumps_are_a_negative_binomial_of_a_rate_in_doubt(dispersion: float, stock: int) -> None:
    for a in (0.3, 3.0, 80.0):
        days = stock / 2.0
        quantiles = (np.arange(4_000) + 0.5) / 4_000
        mean = stats.gamma.ppf(quantiles, a, scale=2.0 / a) * days
        size = np.maximum(mean / (dispersion - 1.0), 1e-12)
        exact = np.mean(stats.nbinom.sf(stock - 1, size, 1.0 / dispersion))
        found = sold_within(one(a, a / 2.0, dispersion), days=array(days), units=array(stock))[0]
        assert found == pytest.approx(exact, abs=0.006)


def test_thousands_of_units_are_counted_in_bundles() -> None:
    rng = np.random.default_rng(1)
    for a, d in ((5.0, 1.0), (40.0, 3.0)):
        drawn = simulated((a, a / 700.0, d), [(2.0, 1_500), (3.0, 2_300)], rng)
        found = risk_of(one(a, a / 700.0, d), 1_500, 3.0, [(2.0, 800)])
        assert found == pytest.approx(drawn, abs=0.008)


def test_risk_averages_over_lead_times() -> None:
    known = one(3.0, 2.0, 1.5)
    found = stockout_risk(
        known, stock=array(4), lead_days=array(1, 6)[None], lead_weight=array(0.75, 0.25)[None]
    )
    expected = 0.75 * risk_of(known, 4, 1.0) + 0.25 * risk_of(known, 4, 6.0)
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_risk_averages_over_whether_goods_come_late() -> None:
    known = one(3.0, 2.0, 1.5)
    nowhere = np.zeros(1, dtype=np.int64)
    found = stockout_risk(
        known,
        stock=array(4),
        lead_days=np.array([[3.0]]),
        lead_weight=np.ones((1, 1)),
        receipts=Receipts(nowhere, array(1.0), array(6.0)),
        late=LateReceipts(Receipts(nowhere, array(2.0), array(6.0)), array(0.3)),
    )
    in_time, late = (risk_of(known, 4, 3.0, [(at, 6.0)]) for at in (1.0, 2.0))
    assert in_time < late
    assert found[0] == pytest.approx(0.7 * in_time + 0.3 * late, abs=1e-12)


def test_the_order_of_errors_does_not_matter() -> None:
    """Where what is left out depends on it: a shelf that is full but for rare errors."""
    known, units, weight = one(50.0, 10.0, 1.2), array(9, 0, -9, -9), array(0.5, 0.48, 0.01, 0.01)

    def found(order: list[int]) -> float:
        return float(
            stockout_risk(
                known,
                stock=array(12),
                lead_days=array(1.0)[None],
                lead_weight=np.ones((1, 1)),
                error_units=units[None, order],
                error_weight=weight[None, order],
            )[0]
        )

    expected = 0.5 * risk_of(known, 21, 1) + 0.48 * risk_of(known, 12, 1)
    expected += 0.02 * risk_of(known, 3, 1)
    for order in ([0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]):
        assert found(order) == pytest.approx(expected, abs=1e-4)


def test_what_is_not_worth_a_look_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shelves with goods on their way that come late at times, and books that are wrong."""
    n, draw = 2_000, np.random.default_rng(4)
    item = np.arange(n)
    rate = np.exp(draw.uniform(-2, 1.5, n))
    cases: dict[str, Any] = {
        "stock": np.rint(rate * draw.uniform(1, 8, n)) + 3,
        "lead_days": np.stack([np.full(n, 2.0), np.full(n, 4.0)], axis=1),
        "lead_weight": np.tile([0.95, 0.05], (n, 1)),
        "receipts": Receipts(item, np.full(n, 0.8), np.ceil(rate * 4)),
        "late": LateReceipts(Receipts(item, np.full(n, 2.8), np.ceil(rate * 4)), np.full(n, 0.05)),
        "error_units": np.tile([-3.0, -2.0, -1.0, 0.0, 0.0, 0.0], (n, 1)),
        "error_weight": np.tile([0.01, 0.02, 0.05, 0.1, 0.22, 0.6], (n, 1)),
    }
    known = Belief(rate * 10, np.full(n, 10.0), np.full(n, 1.5))
    quick = stockout_risk(known, **cases)
    monkeypatch.setattr(module, "_WORTH", 0.0)
    monkeypatch.setattr(module, "_NEGLIGIBLE", 0.0)
    exact = stockout_risk(known, **cases)
    assert np.abs(quick - exact).max() < 1e-3
    low = (exact > 1e-3) & (exact < 1e-2)
    assert low.sum() > 200
    assert quick[low].mean() == pytest.approx(exact[low].mean(), rel=0.03)


def test_rare_stock_is_as_sure_as_any() -> None:
    """Of a shelf that is nearly always empty, the risk is that of when it is not."""
    found = stockout_risk(
        one(50.0, 10.0),
        stock=array(2),
        lead_days=array(3.0)[None],
        lead_weight=np.ones((1, 1)),
        error_units=array(-2, 0)[None],
        error_weight=array(1 - 2e-4, 2e-4)[None],
    )
    assert found[0] == pytest.approx(risk_of(one(50.0, 10.0), 2, 3.0), abs=1e-4)


def test_an_error_of_the_record_counts_only_where_something_is_left() -> None:
    known = one(3.0, 2.0)
    found = stockout_risk(
        known,
        stock=array(2),
        lead_days=array(2.0)[None],
        lead_weight=np.ones((1, 1)),
        error_units=array(-2, 0, 3)[None],
        error_weight=array(0.5, 0.4, 0.1)[None],
    )
    expected = (0.4 * risk_of(known, 2, 2.0) + 0.1 * risk_of(known, 5, 2.0)) / 0.5
    assert found[0] == pytest.approx(expected, abs=1e-12)
    assert risk_of(known, 0, 2.0) == risk_of(known, -7, 2.0) == 1.0


def test_every_item_keeps_its_own_receipts_across_turns() -> None:
    n = 70_000
    item = np.array([5, 5, 32_767, 32_768, 69_999])
    receipts = Receipts(item, array(0.5, 1.0, 0.5, 0.5, 0.5), array(3, 4, 5, 6, 7))
    found = stockout_risk(
        Belief(np.full(n, 2.0), np.ones(n), np.ones(n)),
        stock=np.full(n, 2.0),
        lead_days=np.full((n, 1), 3.0),
        lead_weight=np.ones((n, 1)),
        receipts=receipts,
    )
    assert found[5] == pytest.approx(risk_of(one(2, 1), 2, 3.0, [(0.5, 3), (1.0, 4)]))
    for row, units in ((32_767, 5), (32_768, 6), (69_999, 7)):
        assert found[row] == pytest.approx(risk_of(one(2, 1), 2, 3.0, [(0.5, units)]))
    assert np.unique(np.delete(found, item)).tolist() == [risk_of(one(2, 1), 2, 3.0)]


SHAPES = st.floats(0.05, 100.0)
WIDTHS = st.floats(0.05, 100.0)
SPREADS = st.floats(1.0, 6.0)
STOCKS = st.integers(1, 60)
DAYS = st.floats(0.05, 20.0)
COMING = st.lists(st.tuples(st.floats(0.0, 20.0), st.integers(0, 30)), max_size=3)
# The middle of two bounds, 2e-3 apart, and the trapezoid rule.
NUMERIC = 2.5e-3


@settings(max_examples=100, deadline=None)
@given(SHAPES, WIDTHS, SPREADS, STOCKS, DAYS, COMING, st.floats(1.01, 3.0))
def test_risk_falls_with_stock_and_receipts_and_rises_with_time_and_rate(
    a: float,
    b: float,
    spread: float,
    stock: int,
    days: float,
    coming: list[tuple[float, int]],
    factor: float,
) -> None:
    risk = risk_of(one(a, b, spread), stock, days, coming)
    assert 0.0 <= risk <= 1.0
    assert risk_of(one(a, b, spread), stock + 1, days, coming) <= risk + NUMERIC
    assert risk_of(one(a, b, spread), stock, days, [*coming, (days / 2, 5)]) <= risk + NUMERIC
    assert risk_of(one(a, b, spread), stock, days * factor, coming) >= risk - NUMERIC
    assert risk_of(one(a, b / factor, spread), stock, days, coming) >= risk - NUMERIC
    assert risk <= risk_of(one(a, b, spread), stock, days) + 1e-9


@pytest.mark.parametrize("a", [1e-9, 1e7])
@pytest.mark.parametrize("stock", [1.0, 2e9])
@pytest.mark.parametrize("days", [0.0, 1e-9, 5_000.0])
def test_extremes_give_a_probability(a: float, stock: float, days: float) -> None:
    for coming in ([], [(0.0, 3.0), (days / 2, 4.0)]):
        risk = risk_of(one(a, 7.0, 2.0), stock, days, coming)
        assert 0.0 <= risk <= 1.0
        if days < 1.0 and a < 1.0:
            assert risk < 1e-6


@pytest.mark.parametrize(
    ("a", "b", "days", "stock", "lost"),
    [(5.0, 2.0, 3.0, 6.0, 2.4545908224), (4.0, 3.0, 7.0, 12.0, 1.2488347515)],
)
def test_shortfall_is_that_of_stockpyl(
    a: float, b: float, days: float, stock: float, lost: float
) -> None:
    """negative_binomial_loss(stock, r=a, p=b/(b + days)) of stockpyl 1.0.2."""
    assert expected_shortfall(one(a, b), array(days), array(stock))[0] == pytest.approx(lost)


def test_newsvendor_of_poisson_demand_is_that_of_stockpyl() -> None:
    """newsvendor_poisson(1, 19, 10) of stockpyl 1.0.2 is 15; its poisson_loss(18, 10) is 0.0134."""
    sure = one(1e10, 1e9)
    assert demand_quantile(sure, array(1.0), 19 / 20)[0] == 15
    assert expected_shortfall(sure, array(1.0), array(18.0))[0] == pytest.approx(0.0134, abs=1e-4)


def test_variance_three_times_the_mean_gives_the_true_tail() -> None:
    """Mean 10, variance/mean 3, the rate known well: P(D >= 18) is 0.096, where a plain Poisson
    says 0.014."""
    sure = 1e9
    assert demand_at_least(one(10 * sure, sure, 3.0), array(1), array(18))[0] == pytest.approx(
        0.096, abs=0.0005
    )
    assert risk_of(one(10 * sure, sure, 3.0), 18, 1.0) == pytest.approx(0.096, abs=0.003)
    assert risk_of(one(10 * sure, sure), 18, 1.0) == pytest.approx(0.014, abs=0.0005)


def test_time_to_empty_without_clumps_is_when_the_risk_is_that_high() -> None:
    days = time_to_empty(one(6.0, 4.0), array(5.0), 0.5)[0]
    assert risk_of(one(6.0, 4.0), 5, days) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_quantiles_of_the_beta_are_those_of_the_general_inverse(probability: float) -> None:
    p, q = (grid.ravel() for grid in np.meshgrid(np.geomspace(0.05, 500, 40), [0.1, 1, 9, 800]))
    x = special.betaincinv(p, q, probability)
    inside = (x > 1e-12) & (x < 1 - 1e-12)
    expected = np.log(x[inside] / (1 - x[inside]))
    found = beta_log_odds(p, q, probability)
    assert found[inside] == pytest.approx(expected, abs=1e-4)
    assert np.isfinite(found[x > 1e-300]).all()


@pytest.mark.parametrize("a", [2e3, 1e5, 1e9])
def test_a_rate_that_is_known_for_sure_is_followed_as_well_as_another(a: float) -> None:
    found = stockout_risk(
        Belief(np.array([a]), np.array([a / 10]), np.ones(1)),
        stock=np.array([12.0]),
        lead_days=np.array([[2.5]]),
        lead_weight=np.ones((1, 1)),
        receipts=Receipts(np.array([0]), np.array([1.0]), np.array([20.0])),
    )
    # Poisson: P(D(1) >= 12, or D(2.5) >= 32), summed term by term.
    assert found[0] == pytest.approx(0.327, abs=3e-3)
