"""How wrong the books are, learned from counts: what was found, less what they said.

Counts that found nothing are left out: a shelf that is known to be empty needs no forecast, so the
law wanted is that of shelves on which something stands.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# The law is cut here, finely where least is left: those are the shelves that surprise.
_CUTS = np.array([0.0, 0.01, 0.03, 0.08, 0.18, 0.40, 1.0])
POINTS = len(_CUTS) - 1
# Recorded stock of so much and more, up to the next: errors grow with it.
_FROM = np.array([-(2**31), 1, 2, 3, 4, 6, 8, 11, 16, 26, 51])
_LEAST_COUNTS = 40


@dataclass(frozen=True, slots=True)
class StockError:
    """By class of recorded stock: errors in units, or in shares of it from 11 units on, each the
    middle of its part of the law."""

    points: Floats

    def of(self, recorded: Ints) -> tuple[Floats, Floats]:
        """(error_units, error_weight), each (n, points), for recorded stock (n,)."""
        at = np.searchsorted(_FROM, recorded, side="right") - 1
        scale = np.where(_is_relative(at), np.maximum(recorded, 1), 1)
        units = np.rint(self.points[at] * scale[:, None])
        weight = np.diff(_CUTS) if units.shape[1] == POINTS else np.ones(1)
        return units, np.broadcast_to(weight, units.shape)


def exact() -> StockError:
    """Books that are never wrong: for those who have not counted yet."""
    return StockError(np.zeros((len(_FROM), 1)))


def learned(recorded: Ints, found: Ints) -> StockError:
    """From counts (n,): what the books said, and what stood there. A class with too few counts
    takes those of the classes beside it too."""
    stands = found > 0
    recorded, found = recorded[stands], found[stands]
    if len(recorded) < _LEAST_COUNTS:
        return exact()
    at = np.searchsorted(_FROM, recorded, side="right") - 1
    error = (found - recorded).astype(np.float64)
    relative = error / np.maximum(recorded, 1)
    share = (_CUTS[1:] + _CUTS[:-1]) / 2
    rows = []
    for number in range(len(_FROM)):
        width = 0
        while (near := np.abs(at - number) <= width).sum() < _LEAST_COUNTS:
            width += 1
        values = relative[near] if _is_relative(np.array(number)) else error[near]
        rows.append(np.quantile(values, share, method="inverted_cdf"))
    return StockError(np.array(rows))


def _is_relative(number: Ints) -> NDArray[np.bool_]:
    return np.asarray(_FROM[number] >= 11)
