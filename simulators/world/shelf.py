"""What truly lies on shelves, and what the books say: arithmetic on whole columns.

Flows of a shelf in order of time are a queue that cannot go below zero. With S the running sum of
all that was wanted, the units that could not be had by then are L = max(0, -min S), and what lies
there is S + L (Lindley 1952; the one-sided reflection map). So a slot of any length, with
deliveries and thefts between its sales, is exact without a loop.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_FAR = 1 << 40


class Flow(IntEnum):
    """Why a shelf changes. At one moment lower numbers come first: goods in before goods out."""

    TRANSFER_IN = 0
    DELIVERY = 1
    RETURN = 2
    SALE = 3
    THEFT = 4
    DAMAGE = 5
    TRANSFER_OUT = 6
    WRITE_OFF = 7
    COUNT = 8


@dataclass(frozen=True, slots=True)
class Flows:
    """Rows: `at_ms`, `position`, `wanted` units (negative is out), `booked` (what the books take
    goods in for, or add to a count: a miscount), `kind`."""

    at_ms: Ints
    position: Ints
    wanted: Ints
    booked: Ints
    kind: Ints

    def order(self) -> Ints:
        """Row numbers by position, then time, then kind. Times span less than three days."""
        since = self.at_ms - (self.at_ms.min() if len(self.at_ms) else 0)
        return np.argsort((self.position << 32) | (since << 4) | self.kind, kind="stable")

    def take(self, rows: npt.NDArray[np.intp] | Ints) -> "Flows":
        return Flows(
            *(self.at_ms[rows], self.position[rows], self.wanted[rows]),
            *(self.booked[rows], self.kind[rows]),
        )


@dataclass(frozen=True, slots=True)
class Runs:
    """Rows of one position stand together: where each run begins, its row count, and its number by
    row."""

    starts: Ints
    sizes: Ints
    of_row: Ints

    @classmethod
    def of(cls, position: Ints) -> "Runs":
        first = np.ones(len(position), dtype=bool)
        first[1:] = position[1:] != position[:-1]
        starts = np.flatnonzero(first)
        return cls(starts, np.diff(np.append(starts, len(position))), np.cumsum(first) - 1)

    @property
    def ends(self) -> Ints:
        return self.starts + self.sizes - 1

    def running_sum(self, values: Ints) -> Ints:
        total = np.cumsum(values)
        before = total[self.starts] - values[self.starts]
        return np.asarray(total - before[self.of_row])

    def running_min(self, values: Ints) -> Ints:
        # Each run lies far below the one before it, so that the minimum starts over.
        away = self.of_row * _FAR
        return np.asarray(np.minimum.accumulate(values - away) + away)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of ordered flows. `moved` is what truly came or went (of `wanted`), `physical`
    and `recorded` what is there afterwards, truly and by the books, `emptied` and `filled` say when
    a shelf became empty or stopped being so."""

    moved: Ints
    physical: Ints
    recorded: Ints
    recorded_before: Ints
    emptied: Bools
    filled: Bools


def settle(flows: Flows, runs: Runs, physical: Ints, recorded: Ints) -> Settled:
    """`flows` in `order`; `physical` and `recorded` before them, one number a run.

    Physical stock is never negative, nothing leaves that is not there, and for every shelf
    before + what moved = after.
    """
    start = physical[runs.of_row]
    level = start + runs.running_sum(flows.wanted)
    lost = np.maximum(0, -runs.running_min(level))
    after = level + lost
    before = np.empty_like(after)
    before[1:] = after[:-1]
    before[runs.starts] = physical
    return Settled(
        moved=after - before,
        physical=after,
        **_books(flows, runs, after - before, after, recorded),
        emptied=(after == 0) & (before > 0),
        filled=(after > 0) & (before == 0),
    )


def _books(
    flows: Flows, runs: Runs, moved: Ints, physical: Ints, recorded: Ints
) -> dict[str, Ints]:
    """The books follow what they are told: goods in as booked, sales and write-offs as they were,
    nothing of a theft; a count sets them to what was counted."""
    kind = flows.kind
    resets = kind >= Flow.WRITE_OFF
    told = np.where(kind <= Flow.RETURN, flows.booked, moved)
    told = np.where((kind == Flow.THEFT) | resets, 0, told)
    running = recorded[runs.of_row] + runs.running_sum(told)
    row = np.arange(len(kind))
    last = np.maximum.accumulate(np.where(resets, row, -1)) if len(kind) else row
    known = last >= runs.starts[runs.of_row]
    last = np.where(known, last, 0)
    counted = np.maximum(physical + flows.booked, 0)
    after = np.where(known, counted[last] + running - running[last], running)
    before = np.empty_like(after)
    before[1:] = after[:-1]
    before[runs.starts] = recorded
    return {"recorded": after, "recorded_before": before}
