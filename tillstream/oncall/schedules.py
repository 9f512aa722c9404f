"""Who is on call: pure arithmetic on schedules, exact on the days when clocks are changed.

Every border (a handover, the begin and end of hours) is a local wall-clock time turned into one
moment of UTC; who is on call follows from comparing moments. So an hour that happens twice hands
over once, a time that is skipped hands over when the clocks have jumped, and hours that meet on the
clock (08:00-20:00 and 20:00-08:00) meet to the millisecond on every day.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

EVERY_DAY = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of some days, from `start` to before `end`; an `end` not after `start` is tomorrow's.
    `days` (0 is Monday) are those on which it begins."""

    start: time
    end: time
    days: frozenset[int] = EVERY_DAY

    def spans(self, first: date, last: date, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
        """Each stretch that begins on a local day from `first` to `last`, as UTC milliseconds."""
        overnight = timedelta(days=1 if self.end <= self.start else 0)
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            if day.weekday() in self.days:
                begin = datetime.combine(day, self.start)
                yield (
                    moment_ms(begin, zone),
                    moment_ms(datetime.combine(day + overnight, self.end), zone),
                )


@dataclass(frozen=True, slots=True)
class Rotation:
    """People taking turns of `every_days` days from `starts` (local) on, within `hours` if any."""

    people: tuple[str, ...]
    starts: datetime
    every_days: int
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody stands in, from `start_ms` to before `end_ms`."""

    person: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """An override comes before every rotation, the later in the list before the earlier; then the
    first rotation that covers the moment decides."""

    name: str
    zone: ZoneInfo
    rotations: tuple[Rotation, ...]
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class Shift:
    """A stretch of one schedule; nobody when `person` is None."""

    start_ms: int
    end_ms: int
    person: str | None


def moment_ms(local: datetime, zone: ZoneInfo) -> int:
    """The moment of a wall-clock time: the first one if it happens twice. A time that is skipped
    is counted on with the clock from before the jump."""
    return round(local.replace(tzinfo=zone).timestamp() * 1000)


def local_date(at_ms: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at_ms / 1000, tz=zone).date()


def span_at(hours: Hours, at_ms: int, zone: ZoneInfo) -> tuple[int, int] | None:
    """The stretch of `hours` that holds the moment, None outside of them."""
    today = local_date(at_ms, zone)
    # Tomorrow's too: clocks set back just after midnight show yesterday's date once more.
    for start, end in hours.spans(today - timedelta(days=1), today + timedelta(days=1), zone):
        if start <= at_ms < end:
            return start, end
    return None


def on_call(schedule: Schedule, at_ms: int) -> str | None:
    """The one person on call at that moment, None when the schedule leaves it open."""
    for override in reversed(schedule.overrides):
        if override.start_ms <= at_ms < override.end_ms:
            return override.person
    for rotation in schedule.rotations:
        turn = _turn(rotation, at_ms, schedule.zone)
        if turn is not None and (
            rotation.hours is None or span_at(rotation.hours, at_ms, schedule.zone)
        ):
            return rotation.people[turn % len(rotation.people)]
    return None


def shifts(schedule: Schedule, start_ms: int, end_ms: int) -> list[Shift]:
    """Who is on call from `start_ms` to `end_ms`, without holes: nobody is a shift too."""
    borders = sorted({start_ms, *_borders(schedule, start_ms, end_ms)})
    found: list[Shift] = []
    for begin, end in zip(borders, [*borders[1:], end_ms], strict=True):
        person = on_call(schedule, begin)
        if found and found[-1].person == person:
            found[-1] = Shift(found[-1].start_ms, end, person)
        else:
            found.append(Shift(begin, end, person))
    return found


def _turn(rotation: Rotation, at_ms: int, zone: ZoneInfo) -> int | None:
    """How many handovers there were since the rotation began; None before it began."""
    days = (local_date(at_ms, zone) - rotation.starts.date()).days
    near = days // rotation.every_days
    # The date alone cannot tell whether a handover of today was already.
    turn = max(
        n for n in (near - 1, near, near + 1) if n < near or _handed(rotation, n, at_ms, zone)
    )
    return turn if turn >= 0 else None


def _handed(rotation: Rotation, turn: int, at_ms: int, zone: ZoneInfo) -> bool:
    return moment_ms(_handover(rotation, turn), zone) <= at_ms


def _handover(rotation: Rotation, turn: int) -> datetime:
    return rotation.starts + timedelta(days=turn * rotation.every_days)


def _borders(schedule: Schedule, start_ms: int, end_ms: int) -> Iterator[int]:
    """Every moment in the stretch at which the answer may change."""
    first, last = (local_date(at_ms, schedule.zone) for at_ms in (start_ms, end_ms))
    found = [border for one in schedule.overrides for border in (one.start_ms, one.end_ms)]
    for rotation in schedule.rotations:
        turn = max((first - rotation.starts.date()).days // rotation.every_days - 1, 0)
        while (handover := _handover(rotation, turn)).date() <= last + timedelta(days=1):
            found.append(moment_ms(handover, schedule.zone))
            turn += 1
        if rotation.hours:
            day_before = first - timedelta(days=1)
            for span in rotation.hours.spans(day_before, last + timedelta(days=1), schedule.zone):
                found.extend(span)
    yield from (border for border in found if start_ms < border < end_ms)
