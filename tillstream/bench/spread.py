"""How repeated measurements are told: the smallest, the middle and the largest, never one alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one figure over several runs, in the figure's own unit."""

    min: float
    median: float
    max: float
    runs: int


def spread(values: Sequence[float | None]) -> Spread | None:
    """None when no run has the figure; runs without it are left out and not counted."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(min(known), float(median(known)), max(known), len(known))
