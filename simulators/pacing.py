"""How fast recorded time passes."""

import math
import time
from collections.abc import Callable
from typing import Final

from tillstream.clock import Clock, SystemClock
from tillstream.errors import ConfigError

MAX: Final = "max"
# Long waits are cut, so that progress stays alive and a step of the system's clock is noticed.
LONGEST_WAIT_S: Final = 0.5


def parse_speed(text: str) -> float | None:
    """Seconds of event time per second: a number of at least 1, or None for "max", as fast as it
    goes. Raises ConfigError naming what is allowed."""
    if text.strip().lower() == MAX:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not math.isfinite(speed) or speed < 1:
        raise ConfigError(
            f"speed must be {MAX!r} or a number from 1 up, got {text!r}",
            hint="--speed 3600 replays an hour each second",
        )
    return speed


class Pacer:
    """Says when an event is due. The first one asked about sets the start of both clocks."""

    def __init__(
        self,
        speed: float | None,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._speed = speed
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._origin: tuple[int, int] | None = None

    def delay_s(self, event_ms: int) -> float:
        """Seconds until an event is due; 0 when it is, and always at full speed."""
        if self._speed is None:
            return 0.0
        now_ms = self._clock.now_ms()
        if self._origin is None:
            self._origin = (event_ms, now_ms)
        first_event_ms, started_ms = self._origin
        due_ms = started_ms + (event_ms - first_event_ms) / self._speed
        return max(0.0, (due_ms - now_ms) / 1000)

    def wait(self, event_ms: int, *, on_wait: Callable[[], None] = lambda: None) -> None:
        """Return when an event is due. `on_wait` is called before each sleep, which lasts at most
        half a second; Ctrl-C ends the wait at once."""
        while (delay := self.delay_s(event_ms)) > 0:
            on_wait()
            self._sleep(min(delay, LONGEST_WAIT_S))
