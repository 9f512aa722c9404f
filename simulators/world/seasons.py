"""When people shop: hour, weekday, month, holidays and weather."""

from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from simulators.world.chance import Purpose, stream
from simulators.world.fitted import fitted

EPOCH = date(1970, 1, 1)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

_WEATHER_MEMORY_DAYS = 6
_RAIN_SHARE = 0.27
_RAIN_VISITS = 0.93


def day_of(number: int) -> date:
    """The date of a day numbered from 1970-01-01."""
    return EPOCH + timedelta(days=number)


@lru_cache(maxsize=4096)
def holiday_factor(day: date) -> float:
    """Visits relative to an ordinary day of the same weekday and month: round figures, chosen by
    judgement. A store that is shut has none."""
    thanksgiving = date(day.year, 11, 1)
    thanksgiving += timedelta(days=(3 - thanksgiving.weekday()) % 7 + 21)
    special = {
        date(day.year, 1, 1): 0.6,
        date(day.year, 7, 3): 1.25,
        date(day.year, 7, 4): 0.85,
        thanksgiving - timedelta(days=2): 1.25,
        thanksgiving - timedelta(days=1): 1.45,
        thanksgiving: 0.4,
        thanksgiving + timedelta(days=1): 1.7,
        date(day.year, 12, 22): 1.25,
        date(day.year, 12, 23): 1.45,
        date(day.year, 12, 24): 1.15,
        date(day.year, 12, 25): 0.0,
        date(day.year, 12, 31): 1.2,
    }
    return special.get(day, 1.0)


@lru_cache(maxsize=1024)
def weather(seed: int, region: int, day: int) -> tuple[float, bool]:
    """(how many degrees C above 18, whether it rains) in a region. Yesterday's weather lingers:
    a moving sum of the last days' chance, so that any day can be asked for alone."""
    noise = 0.0
    for ago in range(_WEATHER_MEMORY_DAYS):
        draw = stream(seed, Purpose.WEATHER, subject=region, at=day - ago)
        noise += float(draw.standard_normal()) * 0.7**ago
    rain = float(stream(seed, Purpose.WEATHER, subject=region + 1_000_000, at=day).random())
    of_year = day_of(day).timetuple().tm_yday
    season = -11.0 * float(np.cos(2 * np.pi * (of_year - 20) / 365.25))
    return season + 2.5 * noise - 4.0, rain < _RAIN_SHARE


def visits_by_hour(seed: int, region: int, day: int, *, flat: bool) -> npt.NDArray[np.float64]:
    """Baskets in each local hour of a day, relative to those of an average day (so they add up to
    about 1). A flat profile has neither hours nor seasons: for load."""
    if flat:
        return np.full(24, 1 / 24)
    when = day_of(day)
    _, rain = weather(seed, region, day)
    shape = fitted()
    factor = shape.month[when.month - 1] * holiday_factor(when) * (_RAIN_VISITS if rain else 1.0)
    return np.asarray(shape.weekday_hour[when.weekday()] * factor)
