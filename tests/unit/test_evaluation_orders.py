"""The chain's order book and the errors of its records, as they are logged beside the truth."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from simulators.world.chain import Chain, together
from simulators.world.columns import REASONS, SlotEvents
from simulators.world.scenario import load_scenario
from simulators.world.seasons import DAY_MS
from simulators.world.truth import TruthWriter
from simulators.world.world import World, make_world


def world_of(*, days: float, whole_days: bool = True, **fields: Any) -> World:
    small: dict[str, Any] = {"stores": 8, "products": 200, "rate": 3.0, "minutes": days * 1440}
    scenario = load_scenario("quiet-tuesday").model_copy(update=small | fields)
    return make_world(scenario, start_ms=scenario.start_ms(0), whole_days=whole_days)


@cache
def a_run(whole_days: bool) -> tuple[Chain, SlotEvents]:
    chain = Chain(world_of(days=9, whole_days=whole_days), world_of(days=9).stores)
    return chain, together(list(chain.slots()))


@pytest.mark.parametrize("whole_days", [True, False])
def test_every_delivery_was_ordered_and_every_order_is_delivered(whole_days: bool) -> None:
    _, events = a_run(whole_days)
    orders, moves = events.orders, events.moves
    came = np.isin(moves.reason, [REASONS.index("delivery"), REASONS.index("transfer_in")])
    until = int(moves.at_ms.max()) - DAY_MS

    def counted(at_ms: Any, store: Any, product: Any) -> Counter[tuple[int, int, int]]:
        rows = zip(at_ms.tolist(), store.tolist(), product.tolist(), strict=True)
        return Counter(row for row in rows if row[0] < until)

    delivered = counted(moves.at_ms[came], moves.store[came], moves.product[came])
    received = counted(orders.received_at_ms, orders.store, orders.product)
    assert len(delivered) > 1000
    assert delivered == received
    assert set(orders.is_transfer.tolist()) == {0, 1}


@pytest.mark.parametrize("whole_days", [True, False])
def test_goods_are_promised_for_the_usual_truck_and_some_come_days_later(whole_days: bool) -> None:
    chain, events = a_run(whole_days)
    bought = events.orders.take(events.orders.is_transfer == 0)
    late = bought.received_at_ms - bought.expected_at_ms
    assert set(late.tolist()) == {0, DAY_MS, 2 * DAY_MS, 3 * DAY_MS}
    assert 0.01 < (late > 0).mean() < 0.10
    catalogue = chain.world.catalogue
    lead = catalogue.suppliers.lead_days[catalogue.supplier[bought.product]]
    # Four in the morning and up to three hours, on the day of the lead time.
    hours = (bought.expected_at_ms - bought.ordered_at_ms - lead * DAY_MS) / 3_600_000
    assert hours.min() >= 3
    assert hours.max() < 7
    assert (bought.units % catalogue.pack_units[bought.product] == 0).all()


def test_what_was_on_its_way_had_been_ordered_before_the_start() -> None:
    chain, events = a_run(True)
    early = events.orders.take(events.orders.ordered_at_ms < chain.world.start_ms)
    assert len(early) > 100
    assert (early.expected_at_ms >= chain.world.start_ms).all()


def test_a_strike_is_not_in_what_was_promised() -> None:
    strike = {"kind": "supplier_strike", "suppliers": 1.0, "from_day": 2, "days": 4}
    scenario = load_scenario("quiet-tuesday").model_dump() | {"shocks": (strike,)}
    parsed = type(load_scenario("quiet-tuesday")).model_validate(
        scenario | {"stores": 4, "products": 200, "rate": 3.0, "minutes": 8 * 1440}
    )
    world = make_world(parsed, start_ms=parsed.start_ms(0), whole_days=True)
    orders = together(list(Chain(world, world.stores).slots())).orders
    bought = orders.take(orders.is_transfer == 0)
    first = world.start_ms // DAY_MS
    promised = (bought.expected_at_ms // DAY_MS) - first
    received = (bought.received_at_ms // DAY_MS) - first
    ordered = bought.ordered_at_ms >= world.start_ms
    held = ordered & (promised >= 2) & (promised < 6)
    assert held.sum() > 50
    assert (received[held] >= 6).all()


@pytest.mark.parametrize("whole_days", [True, False])
def test_books_and_their_error_are_what_lies_there(whole_days: bool) -> None:
    chain, events = a_run(whole_days)
    errors = events.errors
    rows = zip(errors.store.tolist(), errors.product.tolist(), errors.error.tolist(), strict=True)
    last = {(store, product): error for store, product, error in rows}
    checked = 0
    for state in chain.states:
        for at in np.flatnonzero(state.sequence):
            item = (state.store.number, int(state.planogram.products[at]))
            assert state.recorded[at] + last[item] == state.physical[at]
            checked += 1
    assert checked > 200


def test_both_are_files_beside_the_truth(tmp_path: Path) -> None:
    chain, events = a_run(True)
    with TruthWriter(tmp_path, 0) as truth:
        truth.slot(events)
        truth.finish(chain.states, chain.world.end_ms)
    orders = pq.read_table(tmp_path / "orders.0.parquet")
    assert orders.num_rows == len(events.orders)
    assert orders["units"].to_pylist() == events.orders.units.tolist()
    assert pq.read_table(tmp_path / "errors.0.parquet").num_rows == len(events.errors)
    assert orders["store_id"][0].as_py() == f"S{events.orders.store[0]:04}"
