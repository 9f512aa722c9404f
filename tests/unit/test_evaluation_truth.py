"""What became of decisions, what was known at them, and what was to be expected: a small chain."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest

from simulators.world.chain import Chain
from simulators.world.scenario import load_scenario
from simulators.world.seasons import DAY_MS, HOUR_MS
from simulators.world.world import World
from tillstream.errors import ConfigError
from tillstream.evaluation.arrivals import arrivals, with_strikes_begun
from tillstream.evaluation.books import Books
from tillstream.evaluation.demand import TrueDemand
from tillstream.evaluation.run import Trial
from tillstream.evaluation.world import Case, make_case, simulate_case

SMALL = {"stores": 6, "products": 150, "rate": 6.0, "seed": 5}


@cache
def a_trial() -> tuple[Case, Books, Trial]:
    case = make_case(load_scenario("quiet-tuesday", **SMALL), warmup_days=20, test_days=6)
    folder = Path(mkdtemp())
    books = simulate_case(case, folder)
    return case, books, Trial(case, books, folder)


def test_shocks_come_when_the_scenario_says_whatever_the_past_before_it() -> None:
    scenario = load_scenario("supplier-strike", stores=2, products=50)
    case = make_case(scenario, warmup_days=10, test_days=3)
    strike = case.world.scenario.shocks[0]
    assert strike.kind == "supplier_strike"
    assert strike.from_day == 11
    assert case.moments[0] - case.world.start_ms == 10 * DAY_MS
    cold = make_case(
        load_scenario("cold-chain-failure", stores=2, products=50), warmup_days=10, test_days=3
    )
    failure = cold.world.scenario.shocks[0]
    assert failure.kind == "cold_chain_failure"
    # 600 minutes after 05:00.
    assert failure.after_minutes == 10 * 1440 + 300 + 600


def test_a_scenario_without_a_start_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no start"):
        make_case(load_scenario("load-1000x500"))


def test_the_last_order_arrives_before_the_run_ends() -> None:
    case, _, trial = a_trial()
    as_of = int(case.moments[-1])
    outcome = trial.truth.outcome(as_of, trial.snapshot(as_of).row)
    assert outcome.arrival_ms.max() < case.world.end_ms


def test_labels_are_those_of_the_shelves_themselves(tmp_path: Path) -> None:
    """Stepped again to the moment and on to each arrival, watching the turns of every shelf."""
    case, _, trial = a_trial()
    as_of = int(case.moments[2])
    snapshot = trial.snapshot(as_of)
    outcome = trial.truth.outcome(as_of, snapshot.row)
    is_empty = np.zeros(len(case.items), dtype=bool)
    ran_out = np.zeros(len(case.items), dtype=bool)
    until = np.zeros(len(case.items), dtype=np.int64)
    until[outcome.row] = outcome.arrival_ms
    chain = Chain(case.world, case.world.stores)
    turns = [chain.initially_empty(), *(events.shelves for events in chain.slots())]
    for turn in turns:
        for row, at_ms, empty in zip(
            case.items.rows(turn.store, turn.product), turn.at_ms, turn.is_empty, strict=True
        ):
            if at_ms <= as_of:
                is_empty[row] = bool(empty)
            elif empty and at_ms <= until[row]:
                ran_out[row] = True
    assert not is_empty[outcome.row].any()
    assert is_empty[np.setdiff1d(snapshot.row, outcome.row)].all()
    assert ran_out[outcome.row].tolist() == outcome.ran_out.tolist()
    assert 0.005 < outcome.ran_out.mean() < 0.3


def test_books_and_error_say_which_shelves_are_empty() -> None:
    case, _, trial = a_trial()
    for as_of in case.moments.tolist():
        snapshot = trial.snapshot(as_of)
        physical = snapshot.recorded + trial.truth.error(snapshot.row, as_of)
        assert physical.min() == 0
        empty = trial.truth.is_empty(snapshot.row, as_of)
        assert (physical == 0).tolist() == empty.tolist()


def test_a_snapshot_knows_nothing_of_later() -> None:
    case, _, trial = a_trial()
    early, late = (trial.snapshot(int(moment)) for moment in case.moments[[0, 3]])
    # What was sold on a day is the same, seen from then and from three days later.
    common, at, later = np.intersect1d(early.row, late.row, return_indices=True)
    assert len(common) > 100
    assert (early.sold[at, 3:] == late.sold[later, :-3]).all()
    assert early.days_known == 20
    assert early.sold[:, :10].sum() == 0
    assert early.sold[:, 10:].sum() > 100


def test_goods_on_their_way_are_those_ordered_and_not_received() -> None:
    case, _, trial = a_trial()
    as_of = int(case.moments[1])
    way = trial.snapshot(as_of).on_the_way
    assert len(way.item) > 20
    assert (np.diff(way.item) >= 0).all()
    same = np.diff(way.item) == 0
    assert (np.diff(way.expected_ms)[same] >= 0).all()
    # Some are overdue, by three days at most.
    assert way.expected_ms.min() >= as_of - 3 * DAY_MS
    assert (way.expected_ms < as_of).mean() < 0.2


def test_an_order_placed_now_comes_at_the_lead_time_or_up_to_three_days_later() -> None:
    case, _, _ = a_trial()
    as_of = int(case.moments[0])
    law = arrivals(case.world, case.items, as_of)
    assert (law.promised_ms == law.at_ms[:, 0]).all()
    assert (np.diff(law.at_ms, axis=1) == DAY_MS).all()
    assert law.weight.sum(axis=1) == pytest.approx(1.0)
    catalogue = case.world.catalogue
    lead = catalogue.suppliers.lead_days[catalogue.supplier[case.items.product]]
    hours = (law.promised_ms - as_of) / HOUR_MS - 24 * lead
    # Midnight UTC is the evening before in every region: the truck's morning is that day's.
    assert hours.min() > -24
    assert hours.max() < 0
    drawn = law.drawn(np.random.default_rng(0))
    delay = catalogue.suppliers.delay[catalogue.supplier[case.items.product]]
    assert (drawn > law.promised_ms).mean() == pytest.approx(delay.mean(), abs=0.03)


def test_a_strike_is_known_once_it_has_begun() -> None:
    scenario = load_scenario("supplier-strike", stores=2, products=50)
    case = make_case(scenario, warmup_days=10, test_days=4)
    before, begun = int(case.moments[1]), int(case.moments[2])

    def is_held(world: World, at: int) -> bool:
        law, usual = arrivals(world, case.items, at), with_strikes_begun(world, 0)
        return bool((law.at_ms > arrivals(usual, case.items, at).at_ms).any())

    late = [
        is_held(case.world, before),
        is_held(with_strikes_begun(case.world, before), before),
        is_held(with_strikes_begun(case.world, begun), begun),
    ]
    assert late == [True, False, True]


def test_true_demand_is_what_was_wanted_on_average() -> None:
    case, _, trial = a_trial()
    demand, wanted = TrueDemand(case.world, case.items).daily, trial.truth.wanted()
    assert demand.shape == wanted.shape
    assert wanted.sum() / demand.sum() == pytest.approx(1.0, abs=0.03)
    # Popular or not: what is once in a basket counts once.
    order = np.argsort(demand.sum(axis=1))
    for rows in np.array_split(order, 4):
        assert wanted[rows].sum() / demand[rows].sum() == pytest.approx(1.0, abs=0.06)
    squares = ((wanted - demand) ** 2).sum() / demand.sum()
    dispersion = TrueDemand(case.world, case.items).dispersion(
        np.arange(len(case.items)), int(case.moments[0])
    )
    expected = np.average(dispersion, weights=demand.sum(axis=1))
    assert squares == pytest.approx(expected, rel=0.15)


def test_true_demand_grows_with_opening_hours() -> None:
    case, _, _ = a_trial()
    demand = TrueDemand(case.world, case.items)
    rows = np.array([0, 1, 2])
    start = int(case.moments[0])
    hours = start + np.arange(0, 49) * HOUR_MS
    until = demand.until(rows, np.tile(hours, (3, 1)))
    assert until.shape == (3, 49)
    assert (np.diff(until, axis=1) >= 0).all()
    each = np.array([demand.until(rows, np.full(3, at)) for at in hours]).T
    assert (each == until).all()
