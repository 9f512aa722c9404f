"""How fast recorded time passes."""

import pytest

from simulators.pacing import Pacer, parse_speed
from tillstream.clock import FakeClock
from tillstream.errors import ConfigError


class Sleeper:
    """Sleep that moves a fake clock, and remembers."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(round(seconds * 1000))


def test_an_hour_passes_in_a_second_at_3600() -> None:
    clock = FakeClock(1_000)
    sleep = Sleeper(clock)
    pacer = Pacer(3600, clock=clock, sleep=sleep)

    pacer.wait(0)
    pacer.wait(3_600_000)

    assert clock.at_ms == 2_000
    assert sleep.slept == [0.5, 0.5]


def test_time_lost_elsewhere_is_caught_up() -> None:
    clock = FakeClock(0)
    pacer = Pacer(1, clock=clock, sleep=Sleeper(clock))
    pacer.wait(50_000)
    clock.advance(5_000)

    pacer.wait(54_000)
    assert clock.at_ms == 5_000
    assert pacer.delay_s(56_000) == 1.0


def test_full_speed_never_waits() -> None:
    clock = FakeClock(0)
    sleep = Sleeper(clock)
    pacer = Pacer(None, clock=clock, sleep=sleep)
    pacer.wait(0)
    pacer.wait(10**12)
    assert sleep.slept == []


def test_ctrl_c_ends_a_wait() -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    pacer = Pacer(1, clock=FakeClock(0), sleep=interrupt)
    pacer.wait(0)
    with pytest.raises(KeyboardInterrupt):
        pacer.wait(60_000)


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("MAX", None), ("1", 1), ("2.5", 2.5)])
def test_speeds(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "0.5", "-3", "fast", "nan", "inf", ""])
def test_bad_speeds_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"'max' or a number from 1 up"):
        parse_speed(text)
