"""A made-up chain through days: what must always hold, whatever the seed."""

from collections import Counter, defaultdict
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.world.chain import Chain, share_of, together
from simulators.world.columns import REASONS, SlotEvents
from simulators.world.messages import Writer
from simulators.world.preview import messages_of
from simulators.world.scenario import Scenario, load_scenario
from simulators.world.world import World, make_world
from tillstream.contracts.catalogue import load_catalogue
from tillstream.contracts.codec import Codec
from tillstream.contracts.topics import SOURCE_TOPICS, Topic

DAY_MS = 86_400_000
KEY = b"key"


def world_of(*, days: float = 4, whole_days: bool = True, **fields: Any) -> World:
    small: dict[str, Any] = {"stores": 4, "products": 200, "rate": 3.0, "minutes": days * 1440}
    scenario = load_scenario("quiet-tuesday").model_copy(update=small | fields)
    return make_world(scenario, start_ms=scenario.start_ms(0), whole_days=whole_days)


@cache
def a_week() -> tuple[Chain, SlotEvents, np.ndarray]:
    """A small chain after a week, all that happened, and what lay on each shelf at the start."""
    chain = Chain(world_of(days=7), world_of(days=7).stores)
    opening = np.concatenate([state.physical.copy() for state in chain.states])
    return chain, together(list(chain.slots())), opening


def test_each_report_leads_on_from_the_one_before_it() -> None:
    _, events, _ = a_week()
    moves = events.moves
    last: dict[tuple[int, int], tuple[int, int, int]] = {}
    for row in range(len(moves)):
        item = (int(moves.store[row]), int(moves.product[row]))
        at, sequence, after = last.get(item, (0, 0, 0))
        assert moves.sequence[row] == sequence + 1
        assert moves.recorded[row] == after + moves.change[row]
        assert moves.at_ms[row] >= at
        last[item] = (int(moves.at_ms[row]), sequence + 1, int(moves.recorded[row]))
    assert {REASONS[at] for at in set(moves.reason.tolist())} >= {
        *("sale", "return", "delivery", "count", "shrinkage", "transfer_in", "transfer_out"),
    }


def test_the_last_report_is_what_the_books_say() -> None:
    chain, events, _ = a_week()
    last = {
        (int(store), int(product)): int(after)
        for store, product, after in zip(
            events.moves.store, events.moves.product, events.moves.recorded, strict=True
        )
    }
    for state in chain.states:
        for position in np.flatnonzero(state.sequence):
            item = (state.store.number, int(state.planogram.products[position]))
            assert last[item] == state.recorded[position]


def test_every_unit_sold_was_wanted_and_left_the_books() -> None:
    _, events, _ = a_week()
    sold = events.sales.take(np.flatnonzero(events.sales.units > 0))
    left = events.moves.take(np.flatnonzero(events.moves.reason == REASONS.index("sale")))
    assert sold.units.sum() == -left.change.sum() == events.demand.sold.sum()
    demand = events.demand
    # What was first asked for was sold, or went unmet; what moved on was asked for once more.
    assert demand.wanted.sum() + demand.moved_on.sum() >= demand.sold.sum() + demand.unmet.sum()
    assert 0 < demand.unmet.sum() < 0.2 * demand.wanted.sum()
    assert (demand.wanted >= 0).all()


def test_shelves_are_never_less_than_empty_and_books_drift_from_them() -> None:
    chain, _, opening = a_week()
    physical = np.concatenate([state.physical for state in chain.states])
    recorded = np.concatenate([state.recorded for state in chain.states])
    assert opening.min() >= 0
    assert physical.min() >= 0
    # At the start 65 % of the records are wrong; counting and selling change which ones are.
    assert 0.4 < (physical != recorded).mean() < 0.75


def test_goods_between_neighbours_arrive_as_they_left() -> None:
    _, events, _ = a_week()
    moves = events.moves
    out = moves.take(np.flatnonzero(moves.reason == REASONS.index("transfer_out")))
    came = moves.take(np.flatnonzero(moves.reason == REASONS.index("transfer_in")))
    left = Counter(
        (int(s) ^ 1, int(p), int(at) + 23 * 3_600_000, -int(n))
        for s, p, at, n in zip(out.store, out.product, out.at_ms, out.change, strict=True)
    )
    arrived = Counter(
        (int(s), int(p), int(at), int(n))
        for s, p, at, n in zip(came.store, came.product, came.at_ms, came.change, strict=True)
    )
    assert arrived
    assert not arrived - left


def test_returns_follow_sales_within_two_weeks() -> None:
    _, events, _ = a_week()
    sales = events.sales
    returned = sales.take(np.flatnonzero(sales.units < 0))
    first_sold: dict[tuple[int, int], int] = {}
    for row in np.flatnonzero(sales.units > 0):
        item = (int(sales.store[row]), int(sales.product[row]))
        first_sold.setdefault(item, int(sales.at_ms[row]))
    assert len(returned)
    for store, product, at in zip(returned.store, returned.product, returned.at_ms, strict=True):
        assert at >= first_sold[int(store), int(product)] + DAY_MS


def test_stock_outs_of_the_truth_alternate_with_filled_shelves() -> None:
    chain, events, _ = a_week()
    turns: dict[tuple[int, int], list[int]] = defaultdict(list)
    shelves = events.shelves
    for store, product, is_empty in zip(
        shelves.store, shelves.product, shelves.is_empty, strict=True
    ):
        turns[int(store), int(product)].append(int(is_empty))
    assert turns
    for seen in turns.values():
        assert all(a != b for a, b in pairwise(seen))
    for state in chain.states:
        for position, product in enumerate(state.planogram.products.tolist()):
            if seen := turns.get((state.store.number, product), []):
                assert bool(seen[-1]) == (state.physical[position] == 0)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    rate=st.sampled_from([1.0, 8.0, 60.0]),
    whole_days=st.booleans(),
)
def test_no_sale_exceeds_what_lies_there(seed: int, rate: float, whole_days: bool) -> None:
    world = world_of(days=1.5, whole_days=whole_days, seed=seed, rate=rate, stores=2, products=60)
    chain = Chain(world, world.stores)
    for start_ms in range(world.start_ms, world.end_ms, world.slot_ms):
        for state in chain.states:
            lay_there = state.physical.astype(np.int64)
            events = chain.step(state, start_ms)
            assert state.physical.min() >= 0
            moves = events.moves
            at = np.searchsorted(state.planogram.products, moves.product)
            came = np.zeros_like(lay_there)
            inward = np.isin(moves.reason, [REASONS.index(n) for n in ("delivery", "transfer_in")])
            # The books may have been told of more than came, never of less; returns come as told.
            told = inward | (moves.reason == REASONS.index("return"))
            np.add.at(came, at[told], np.maximum(moves.change[told], 0))
            went = np.zeros_like(lay_there)
            np.add.at(
                went,
                np.searchsorted(state.planogram.products, events.sales.product),
                np.maximum(events.sales.units, 0),
            )
            assert (went <= lay_there + came).all()


def _values(world: World, shares: int) -> dict[int, list[tuple[int, bytes]]]:
    """(topic, bytes) of every store's messages, in the order they are sent."""
    found: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
    for share in range(shares):
        chain = Chain(world, share_of(world, share, shares))
        for messages in messages_of(world, load_catalogue(), KEY, chain=chain):
            rows = zip(messages.store, messages.topic, messages.value, strict=True)
            for store, topic, value in rows:
                found[int(store)].append((int(topic), value))
    return found


@pytest.mark.parametrize(("faults", "days"), [("none", 1), ("storm", 0.5)])
def test_the_number_of_processes_changes_no_byte(faults: str, days: float) -> None:
    fields: dict[str, Any] = {"whole_days": False, "stores": 7, "faults": faults}
    alone = _values(world_of(days=days, **fields), 1)
    assert alone == _values(world_of(days=days, **fields), 3)
    assert len(alone) == 7


@pytest.mark.parametrize("shares", [1, 2, 3, 5])
def test_each_store_is_in_one_share_and_neighbours_are_in_the_same(shares: int) -> None:
    world = world_of(stores=9)
    parts = [{one.number for one in share_of(world, n, shares)} for n in range(shares)]
    assert sorted(number for part in parts for number in part) == list(range(9))
    for part in parts:
        assert all(number ^ 1 in part for number in part if number != 8)


def test_another_seed_is_another_chain() -> None:
    one = _values(world_of(days=0.1, whole_days=False), 1)
    other = _values(world_of(days=0.1, whole_days=False, seed=2), 1)
    assert not {v for rows in one.values() for v in rows} & {
        v for rows in other.values() for v in rows
    }


def test_every_event_fits_its_contract_and_is_told_apart() -> None:
    world = world_of(days=1, whole_days=False)
    codec = Codec(load_catalogue())
    identities = set()
    count = 0
    for messages in messages_of(world, load_catalogue(), KEY):
        for topic_at, identity, value in zip(
            messages.topic, messages.identity, messages.value, strict=True
        ):
            topic = SOURCE_TOPICS[topic_at]
            record = codec.decode(topic, value).record
            assert codec.encode(topic, record) == value
            if topic is Topic.SALES:
                assert record["event_id"] == identity.decode()
                assert record["line_amount"] <= record["quantity"] * record["unit_price"]
            identities.add((topic_at, identity))
            count += 1
    assert len(identities) == count > 1000


def test_without_a_key_customers_stay_unnamed() -> None:
    world = world_of(days=0.2, whole_days=False)
    writer = Writer(load_catalogue(), 1, world.start_ms, world.slot_ms, b"")
    named = writer.customer_ids(np.array([1, 2]), np.array([5, -1]))
    assert named.given is not None
    assert not named.given.any()


@pytest.mark.parametrize(("rate", "stores"), [(30.0, 30), (500.0, 10)])
def test_events_come_at_about_the_rate_that_was_asked_for(rate: float, stores: int) -> None:
    flat = load_scenario("load-1000x500")
    scenario = flat.model_copy(update={"rate": rate, "stores": stores, "products": 2000})
    world = make_world(scenario.model_copy(update={"minutes": 120.0}), start_ms=0)
    count = sum(events.count for events in Chain(world, world.stores).slots())
    assert count / stores / 120 == pytest.approx(rate, rel=0.08)


def test_a_strike_empties_shelves_that_would_be_full() -> None:
    strike = load_scenario("supplier-strike").model_copy(
        update={"stores": 4, "products": 300, "minutes": 7 * 1440.0}
    )
    lost = {}
    for shocks in ((), strike.shocks):
        scenario = strike.model_copy(update={"shocks": shocks})
        world = make_world(scenario, start_ms=scenario.start_ms(0), whole_days=True)
        demand = together(list(Chain(world, world.stores).slots())).demand
        lost[bool(shocks)] = demand.unmet.sum() / demand.wanted.sum()
    assert lost[True] > 1.3 * lost[False]


def test_a_cold_chain_failure_is_on_the_shelf_before_it_is_in_the_books() -> None:
    scenario = load_scenario("cold-chain-failure").model_copy(
        update={"stores": 8, "products": 300, "minutes": 1000.0}
    )
    world = make_world(scenario, start_ms=scenario.start_ms(0))
    chain = Chain(world, world.stores)
    gone_at = world.start_ms + 600 * 60_000
    written_off = []
    for events in chain.slots():
        moves = events.moves
        loss = moves.take(
            np.flatnonzero((moves.reason == REASONS.index("shrinkage")) & (moves.change < 0))
        )
        burst = loss.take(np.flatnonzero(loss.at_ms == gone_at + 180 * 60_000))
        written_off += burst.store.tolist()
    emptied = set(written_off)
    assert 0 < len(emptied) < 8
    assert len(written_off) > 20


def test_a_promotion_changes_the_price_and_what_is_sold() -> None:
    scenario = Scenario(
        name="promo",
        version=1,
        stores=2,
        products=2000,
        rate=20,
        minutes=6 * 1440,
        start=None,
        demand={"promoted": 0.3},  # type: ignore[arg-type]
    )
    world = make_world(scenario, start_ms=20_512 * DAY_MS, whole_days=True)
    events = together(list(Chain(world, world.stores).slots()))
    prices = events.prices
    assert len(prices)
    assert (prices.old_cents != prices.new_cents).all()
    promoted = prices.until_ms > 0
    assert (prices.until_ms[promoted] > prices.at_ms[promoted]).all()
    sales = events.sales
    cut = sales.paid_cents < sales.regular_cents
    assert (cut == (sales.week >= 0))[sales.units > 0].all()
    # What is cut is asked for more than usual.
    demand = events.demand
    week = world.market.prices(world.stores[0].region, int(sales.week.max()))
    on_promotion = week.paid < week.regular
    in_week = demand.at_ms >= int(prices.at_ms.max())
    wanted = np.bincount(demand.product[in_week], demand.wanted[in_week], minlength=2000)
    share = wanted[on_promotion].sum() / wanted.sum()
    usual = world.catalogue.weight[on_promotion].sum() / world.catalogue.weight.sum()
    assert 0.25 < on_promotion.mean() < 0.35
    assert share > 1.2 * usual
