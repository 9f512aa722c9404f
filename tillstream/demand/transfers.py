"""What one store has too much of and a store nearby needs, before anything is bought."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Moving fewer units is never worth a journey.
LEAST_UNITS = 2


@dataclass(frozen=True, slots=True)
class Transfers:
    """Aligned arrays (m,): rows of the giving and of the taking item, and units, all above 0."""

    giver: Ints
    taker: Ints
    units: Ints

    def __len__(self) -> int:
        return len(self.units)

    def received(self, items: int) -> Ints:
        """Units each of `items` rows receives, (items,)."""
        total = np.bincount(self.taker, weights=self.units, minlength=items)
        return total.astype(np.int64)

    def sent(self, items: int) -> Ints:
        """Units each of `items` rows gives away, (items,)."""
        total = np.bincount(self.giver, weights=self.units, minlength=items)
        return total.astype(np.int64)


def transfers(
    *,
    group: Ints,
    surplus: Ints,
    need: Ints,
    urgency: Floats,
    least_units: Ints | int = LEAST_UNITS,
) -> Transfers:
    """Match needs with surpluses inside each group (a product in a region), greedily.

    All arrays are (n,). The most urgent need is served first, from the largest surplus; rows with
    equal numbers go by their place. Nobody gives more than its surplus or takes more than its need,
    and a part below its taker's `least_units` stays where it is. An item with a need gives nothing.

    Laid end to end, the needs of a group and its surpluses are two rulers over the same units; the
    pieces between their marks are the transfers (the north-west corner rule). Takes O(n log n).
    """
    need = np.maximum(need, 0)
    surplus = np.where(need > 0, 0, np.maximum(surplus, 0))
    takers = np.flatnonzero(need)
    givers = np.flatnonzero(surplus)
    takers = takers[np.lexsort((takers, -urgency[takers], group[takers]))]
    givers = givers[np.lexsort((givers, -surplus[givers], group[givers]))]
    groups = np.intersect1d(group[takers], group[givers])
    takers = takers[np.isin(group[takers], groups)]
    givers = givers[np.isin(group[givers], groups)]
    wanted, offered = (
        np.bincount(np.searchsorted(groups, group[rows]), weights=units[rows]).astype(np.int64)
        for rows, units in ((takers, need), (givers, surplus))
    )
    moved = np.minimum(wanted, offered)
    taker_ends = _ends(np.searchsorted(groups, group[takers]), need[takers], moved)
    giver_ends = _ends(np.searchsorted(groups, group[givers]), surplus[givers], moved)
    ends = np.union1d(taker_ends, giver_ends)
    ends = ends[ends > 0]
    starts = np.concatenate([[0], ends[:-1]])[: len(ends)]
    units = ends - starts
    giver = givers[np.searchsorted(giver_ends, starts, side="right")]
    taker = takers[np.searchsorted(taker_ends, starts, side="right")]
    worth = units >= np.broadcast_to(least_units, need.shape)[taker]
    return Transfers(giver=giver[worth], taker=taker[worth], units=units[worth])


def _ends(group: Ints, units: Ints, moved: Ints) -> Ints:
    """Where each row's stretch ends on a ruler on which group g takes up `moved[g]`; rows are in
    order of their group, and what does not fit its group is cut off."""
    total = np.cumsum(units)
    first = np.searchsorted(group, np.arange(len(moved)))
    before = np.concatenate([[0], total])[first]
    starts = np.cumsum(moved) - moved
    within = np.minimum(total - before[group], moved[group])
    ends: Ints = (starts[group] + within).astype(np.int64)
    return ends
