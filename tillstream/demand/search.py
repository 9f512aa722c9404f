"""The smallest whole number that is enough, for many items at once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# No shelf holds more: where a search gives up.
_MOST_UNITS = 2.0**40


def smallest_whole(enough: Callable[[Ints, Floats], Bools], near: Floats, step: Floats) -> Floats:
    """For each item the smallest whole x >= 0 with `enough(rows, x)`, which must stay true from
    there on.

    Begins at `near`, whole and not below 0, and doubles its `step`, at least 1, until the answer is
    bracketed, then halves the bracket; rows that are done are not asked about again.
    """
    probe, step = near.copy(), step.copy()
    low, high = np.zeros(len(probe)), np.full(len(probe), _MOST_UNITS)
    left = np.arange(len(probe))
    while len(left):
        units = probe[left]
        reached = enough(left, units)
        high[left] = np.where(reached, units, high[left])
        low[left] = np.where(reached, low[left], units + 1.0)
        left = left[low[left] < high[left]]
        down_from = high[left] == probe[left]
        middle = np.floor((low[left] + high[left]) / 2.0)
        down = np.maximum(middle, high[left] - step[left])
        up = np.minimum(middle, low[left] + step[left] - 1.0)
        probe[left] = np.where(down_from, down, up)
        step[left] *= 2.0
    return high
