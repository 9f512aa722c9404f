"""Who is on call: exactly one where the schedule says so, also when clocks are changed."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tillstream.oncall.schedules import (
    Hours,
    Override,
    Rotation,
    Schedule,
    moment_ms,
    on_call,
    shifts,
    span_at,
)

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "UTC"]


def utc(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def wall(text: str) -> datetime:
    """A local time, of whatever zone."""
    return datetime.fromisoformat(text)


def weekly(zone: ZoneInfo = BERLIN, *, at: str = "2026-01-05 08:00", days: int = 7) -> Schedule:
    rotation = Rotation(("mara", "jonas"), datetime.fromisoformat(at), days)
    return Schedule("shelves", zone, (rotation,))


def test_people_take_turns_at_the_handover() -> None:
    schedule = weekly()
    assert on_call(schedule, utc("2026-01-05 06:59")) is None  # before it begins
    assert on_call(schedule, utc("2026-01-05 07:00")) == "mara"
    assert on_call(schedule, utc("2026-01-12 06:59:59.999")) == "mara"
    assert on_call(schedule, utc("2026-01-12 07:00")) == "jonas"
    assert on_call(schedule, utc("2026-01-19 07:00")) == "mara"


def test_a_handover_keeps_its_local_time_in_summer() -> None:
    assert on_call(weekly(), utc("2026-06-29 05:59")) == "mara"
    assert on_call(weekly(), utc("2026-06-29 06:00")) == "jonas"


def test_an_hour_that_happens_twice_hands_over_once() -> None:
    schedule = weekly(at="2026-10-24 02:30", days=1)  # clocks go back on the 25th, 03:00 to 02:00
    first, second = utc("2026-10-25 00:30"), utc("2026-10-25 01:30")
    assert on_call(schedule, first - 1) == "mara"
    for at_ms in range(first, second + HOUR_MS, MINUTE_MS):
        assert on_call(schedule, at_ms) == "jonas"


def test_a_time_that_is_skipped_hands_over_after_the_jump() -> None:
    schedule = weekly(at="2026-03-28 02:30", days=1)  # on the 29th, 02:00 jumps to 03:00
    assert on_call(schedule, utc("2026-03-29 01:29")) == "mara"
    assert on_call(schedule, utc("2026-03-29 01:30")) == "jonas"


def test_the_later_override_counts_and_ends_to_the_millisecond() -> None:
    start, end = utc("2026-02-01"), utc("2026-02-03")
    overrides = (Override("ines", start, end), Override("thomas", start + DAY_MS, end))
    schedule = Schedule("shelves", BERLIN, weekly().rotations, overrides)
    assert on_call(schedule, start) == "ines"
    assert on_call(schedule, start + DAY_MS) == "thomas"
    assert on_call(schedule, end - 1) == "thomas"
    assert on_call(schedule, end) == on_call(weekly(), end)


def test_the_first_rotation_that_covers_the_moment_decides() -> None:
    office = Hours(time(9), time(17), frozenset(range(5)))
    rotations = (
        Rotation(("ines",), wall("2026-01-05"), 7, office),
        Rotation(("mara",), wall("2026-01-05"), 7),
    )
    schedule = Schedule("shelves", BERLIN, rotations)
    assert on_call(schedule, utc("2026-01-07 08:00")) == "ines"
    assert on_call(schedule, utc("2026-01-07 16:00")) == "mara"
    assert on_call(schedule, utc("2026-01-10 08:00")) == "mara"  # a Saturday


def test_hours_over_midnight_belong_to_the_day_they_begin() -> None:
    friday_night = Hours(time(22), time(6), frozenset({4}))
    assert span_at(friday_night, utc("2026-01-10 04:59"), BERLIN) == (
        utc("2026-01-09 21:00"),
        utc("2026-01-10 05:00"),
    )
    assert span_at(friday_night, utc("2026-01-09 04:00"), BERLIN) is None


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    border=st.times(),
    offset_ms=st.integers(0, 2 * 366 * DAY_MS),
)
def test_hours_that_meet_on_the_clock_leave_exactly_one_on_call(
    zone: ZoneInfo, border: time, offset_ms: int
) -> None:
    border = border.replace(second=0, microsecond=0)
    other = (datetime.combine(wall("2026-01-01"), border) + timedelta(hours=11)).time()
    at_ms = utc("2026-01-03") + offset_ms
    day, night = Hours(border, other), Hours(other, border)
    covering = [one for one in (day, night) if span_at(one, at_ms, zone)]
    assert len(covering) == 1


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    days=st.integers(1, 15),
    at=st.datetimes(wall("2026-01-01"), wall("2026-01-20")),
    people=st.lists(st.sampled_from("abcde"), min_size=1, max_size=5, unique=True),
    offset_ms=st.integers(0, 2 * 366 * DAY_MS),
)
def test_a_rotation_has_exactly_one_on_call_and_shifts_agree(
    zone: ZoneInfo, days: int, at: datetime, people: list[str], offset_ms: int
) -> None:
    schedule = Schedule("s", zone, (Rotation(tuple(people), at, days),))
    start_ms = moment_ms(at, zone) + offset_ms
    listed = shifts(schedule, start_ms, start_ms + 40 * DAY_MS)
    assert listed[0].start_ms == start_ms
    assert listed[-1].end_ms == start_ms + 40 * DAY_MS
    for before, after in pairwise(listed):
        assert before.end_ms == after.start_ms
        assert people[(people.index(before.person or "") + 1) % len(people)] == after.person
    for shift in listed:
        for at_ms in (shift.start_ms, (shift.start_ms + shift.end_ms) // 2, shift.end_ms - 1):
            assert on_call(schedule, at_ms) == shift.person


@pytest.mark.parametrize("zone", ZONES)
def test_a_week_of_shifts_is_a_week_long_on_the_wall(zone: str) -> None:
    for shift in shifts(weekly(ZoneInfo(zone)), utc("2026-02-01"), utc("2027-02-01"))[1:-1]:
        start, end = (
            datetime.fromtimestamp(one / 1000, tz=ZoneInfo(zone)).replace(tzinfo=None)
            for one in (shift.start_ms, shift.end_ms)
        )
        assert end - start == timedelta(days=7)
        assert start.time() == time(8)
