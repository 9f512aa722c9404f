"""Time as an argument, so that tests can hold it still; and the zones it is told in."""

import time
from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones


class Clock(Protocol):
    """UTC wall-clock time in milliseconds since 1970."""

    def now_ms(self) -> int: ...


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


@dataclass(slots=True)
class FakeClock:
    """A clock that moves only when told to."""

    at_ms: int

    def now_ms(self) -> int:
        return self.at_ms

    def advance(self, ms: int) -> None:
        self.at_ms += ms


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its name. One that nobody has heard of counts as UTC, everywhere."""
    return ZoneInfo(name if name in available_timezones() else "UTC")
