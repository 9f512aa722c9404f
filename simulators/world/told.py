"""What is told of a slot: by the stock system, which may be wrong, and by the hidden truth."""

import numpy as np
import numpy.typing as npt

from simulators.world.baskets import Lines
from simulators.world.columns import REASONS, DemandTruth, ErrorTruth, Moves, Orders, ShelfTruth
from simulators.world.seasons import DAY_MS, HOUR_MS
from simulators.world.shelf import Flow, Flows, Runs, Settled
from simulators.world.state import StoreState

Ints = npt.NDArray[np.int64]

_REASON_OF = np.array(
    [
        REASONS.index(name)
        for name in (
            *("transfer_in", "delivery", "return", "sale", "sale", "shrinkage"),
            *("transfer_out", "shrinkage", "count"),
        )
    ]
)


def moves(state: StoreState, flows: Flows, runs: Runs, settled: Settled) -> Moves:
    """What the stock system reports: all but thefts and what changed nothing. The first report of a
    shelf is what the books say is there."""
    kind = flows.kind
    change = settled.recorded - settled.recorded_before
    told = (kind != Flow.THEFT) & ((change != 0) | (kind == Flow.COUNT))
    number = runs.running_sum(told.astype(np.int64))
    sequence = state.sequence[flows.position].astype(np.int64)
    unknown = sequence == 0
    opening = np.flatnonzero(told & unknown & (number == 1))
    rows = np.flatnonzero(told)
    sequence = sequence + number + unknown
    first = settled.recorded_before[opening]
    at = np.concatenate([flows.at_ms[opening], flows.at_ms[rows]])
    position = np.concatenate([flows.position[opening], flows.position[rows]])
    moves = Moves(
        at_ms=at,
        store=np.full(len(at), state.store.number),
        product=state.planogram.products[position],
        change=np.concatenate([first, change[rows]]),
        recorded=np.concatenate([first, settled.recorded[rows]]),
        reason=np.concatenate(
            [np.full(len(opening), REASONS.index("count")), _REASON_OF[kind[rows]]]
        ),
        sequence=np.concatenate([np.ones(len(opening), dtype=np.int64), sequence[rows]]),
    )
    reported = runs.running_sum(told.astype(np.int64))[runs.ends]
    here = flows.position[runs.starts]
    before = state.sequence[here]
    state.sequence[here] = before + np.where(reported > 0, reported + (before == 0), 0)
    return moves.take(np.lexsort((moves.sequence, at)))


def errors(state: StoreState, flows: Flows, runs: Runs, settled: Settled) -> ErrorTruth:
    """Before `moves`, which counts the first report of a shelf."""
    error = settled.physical - settled.recorded
    before = settled.physical - settled.moved - settled.recorded_before
    told = error != before
    told[runs.starts] |= state.sequence[flows.position[runs.starts]] == 0
    rows = np.flatnonzero(told)
    return ErrorTruth(
        at_ms=flows.at_ms[rows],
        store=np.full(len(rows), state.store.number),
        product=state.planogram.products[flows.position[rows]],
        error=error[rows],
    )


def shelves(state: StoreState, flows: Flows, settled: Settled) -> ShelfTruth:
    """When shelves went empty and were filled, in truth."""
    rows = np.flatnonzero(settled.emptied | settled.filled)
    return ShelfTruth(
        at_ms=flows.at_ms[rows],
        store=np.full(len(rows), state.store.number),
        product=state.planogram.products[flows.position[rows]],
        is_empty=settled.emptied[rows].astype(np.int64),
    )


def demand(
    state: StoreState,
    start_ms: int,
    lines: Lines,
    *,
    moved_on: Ints,
    sold: Ints,
    first_choices: int,
) -> DemandTruth:
    """Who wanted what, by product. The first `first_choices` lines are what was asked for first,
    the others what was taken instead."""
    position, row = np.unique(lines.position, return_inverse=True)
    first = np.arange(len(sold)) < first_choices

    def total(values: Ints) -> Ints:
        return np.bincount(row, weights=values, minlength=len(position)).astype(np.int64)

    n = len(position)
    return DemandTruth(
        at_ms=np.full(n, start_ms),
        store=np.full(n, state.store.number),
        product=state.planogram.products[position],
        wanted=total(np.where(first, lines.units, 0)),
        sold=total(sold),
        unmet=total(lines.units - sold),
        moved_on=total(moved_on),
    )


def sent(state: StoreState, flows: Flows, settled: Settled) -> Orders:
    """What goes to the neighbour, who is told of it."""
    rows = np.flatnonzero((flows.kind == Flow.TRANSFER_OUT) & (settled.moved < 0))
    arrives = flows.at_ms[rows] + DAY_MS - HOUR_MS
    return Orders(
        ordered_at_ms=flows.at_ms[rows],
        store=np.full(len(rows), state.store.number ^ 1),
        product=state.planogram.products[flows.position[rows]],
        units=-settled.moved[rows],
        expected_at_ms=arrives,
        received_at_ms=arrives,
        is_transfer=np.ones(len(rows), dtype=np.int64),
    )


def shipped(state: StoreState, flows: Flows, settled: Settled) -> Ints:
    """What left for the neighbour: rows of (arrival ms, product, units)."""
    rows = np.flatnonzero((flows.kind == Flow.TRANSFER_OUT) & (settled.moved < 0))
    arrives = flows.at_ms[rows] + DAY_MS - HOUR_MS
    product = state.planogram.products[flows.position[rows]]
    return np.stack([arrives, product, -settled.moved[rows]], axis=1)
