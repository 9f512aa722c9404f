"""The rules that most stock systems warn by, from the same books as any prediction here.

Each gives every item of a snapshot a `rank` (higher is warned of first), whether the rule itself
`fires`, and a `risk` where it has one. Mean and deviation are of the last 30 days' sales; a day
without sales counts, whether the shelf was empty or not, as it does where such rules are used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from simulators.world.seasons import DAY_MS
from tillstream.evaluation.books import SALES_DAYS, Snapshot

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIXED_THRESHOLD: Final = 10
REVIEW_DAYS: Final = 1.0
# The risk from which somebody is warned who has no budget.
FIRES_AT: Final = 0.5
_FAR_DAYS: Final = 3650.0


@dataclass(frozen=True, slots=True)
class Scored:
    """Arrays (n,) aligned with a snapshot; `risk` is None for a rule that has no probability."""

    rank: Floats
    fires: Bools
    risk: Floats | None = None


def scored(risk: Floats) -> Scored:
    """A probability ranks by itself."""
    return Scored(rank=risk, fires=risk >= FIRES_AT, risk=risk)


def lead_days(snapshot: Snapshot) -> Floats:
    """Days until an order placed now is promised for."""
    return (snapshot.promised_ms - snapshot.as_of_ms) / DAY_MS


def mean_daily_units(snapshot: Snapshot) -> Floats:
    return np.asarray(snapshot.sold.sum(axis=1) / max(1, min(SALES_DAYS, snapshot.days_known)))


def deviation_daily_units(snapshot: Snapshot) -> Floats:
    """Sample standard deviation of a day's units."""
    days = min(SALES_DAYS, snapshot.days_known)
    if days < 2:
        return np.zeros(len(snapshot))
    return np.asarray(snapshot.sold[:, SALES_DAYS - days :].std(axis=1, ddof=1))


def position(snapshot: Snapshot) -> Floats:
    """Recorded units, and those promised before an order placed now could come."""
    way = snapshot.on_the_way
    soon = way.expected_ms < snapshot.promised_ms[way.item]
    coming = np.bincount(way.item, weights=way.units * soon, minlength=len(snapshot))
    return np.asarray(snapshot.recorded + coming, dtype=np.float64)


def fixed_threshold(snapshot: Snapshot) -> Scored:
    """Fewer than ten on hand."""
    recorded = snapshot.recorded.astype(np.float64)
    return Scored(rank=-recorded, fires=recorded < FIXED_THRESHOLD)


def reorder_point(snapshot: Snapshot) -> Scored:
    """On hand and on its way at most what the 30-day mean sells in lead time and review period."""
    level = mean_daily_units(snapshot) * (lead_days(snapshot) + REVIEW_DAYS)
    has = position(snapshot)
    return Scored(rank=(level - has) / np.maximum(level, 1.0), fires=has <= level)


def days_of_cover(snapshot: Snapshot) -> Scored:
    """On hand over the 30-day mean, less than the lead time."""
    with np.errstate(divide="ignore", invalid="ignore"):
        cover = np.maximum(snapshot.recorded, 0) / mean_daily_units(snapshot)
    cover = np.nan_to_num(np.minimum(cover, _FAR_DAYS), nan=0.0)
    lead = lead_days(snapshot)
    return Scored(rank=-cover / lead, fires=cover < lead)


def normal_approximation(snapshot: Snapshot) -> Scored:
    """P(demand of the lead time >= on hand and on its way), demand being normal with the 30 days'
    mean and deviation."""
    lead = lead_days(snapshot)
    mean = mean_daily_units(snapshot) * lead
    deviation = deviation_daily_units(snapshot) * np.sqrt(lead)
    left = mean - position(snapshot)
    with np.errstate(divide="ignore", invalid="ignore"):
        certain = np.where(left >= 0, 1.0, 0.0)
        risk = np.where(deviation > 0, ndtr(left / deviation), certain)
    return scored(risk)


RULES: Final[Mapping[str, Callable[[Snapshot], Scored]]] = {
    "fixed threshold": fixed_threshold,
    "reorder point": reorder_point,
    "days of cover": days_of_cover,
    "normal approximation": normal_approximation,
}
