"""Weekdays and holidays, as numbers that a model can use."""

from datetime import date, timedelta
from functools import cache

import holidays
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

EPOCH = date(1970, 1, 1)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
# Further away, a holiday is not felt.
FAR_DAYS = 8
_EVE_DAYS = 3
# Those that shops shut for, or are stormed before. A year of history holds each of them once, so
# they must look alike, and days that only offices keep must not look like them.
_FELT = ("New Year's Day", "Easter", "Good Friday", "Independence Day", "Thanksgiving", "Christmas")


def number_of(day: date) -> int:
    """Days since 1970."""
    return (day - EPOCH).days


def date_of(number: int) -> date:
    return EPOCH + timedelta(days=number)


def weekday(day: Ints) -> Ints:
    """0 is Monday."""
    return np.asarray((day + _EPOCH_WEEKDAY) % 7)


def holiday_distance(day: Ints, country: str) -> tuple[Ints, Ints]:
    """Days until the next holiday that shops feel, and since the last: 0 to FAR_DAYS, each day."""
    first, last = int(day.min()), int(day.max())
    known = _holidays(country, date_of(first).year - 1, date_of(last).year + 1)
    after = known[np.minimum(np.searchsorted(known, day), len(known) - 1)]
    before = known[np.maximum(np.searchsorted(known, day, side="right") - 1, 0)]
    ahead = np.where(after >= day, after - day, FAR_DAYS)
    behind = np.where(before <= day, day - before, FAR_DAYS)
    return np.minimum(ahead, FAR_DAYS), np.minimum(behind, FAR_DAYS)


def is_calm(day: Ints, country: str) -> NDArray[np.bool_]:
    """Whether each day is neither such a holiday nor one of the three before it."""
    ahead, _ = holiday_distance(day, country)
    return ahead > _EVE_DAYS


@cache
def _holidays(country: str, first_year: int, last_year: int) -> Ints:
    known = holidays.country_holidays(
        country, years=range(first_year, last_year + 1), observed=False
    )
    felt = [day for day, name in known.items() if name.startswith(_FELT)]
    return np.array(sorted(number_of(day) for day in felt), dtype=np.int64)
