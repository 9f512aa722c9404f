"""The part of a policy that says who is on call when."""

import re
from collections.abc import Mapping
from datetime import datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tillstream.oncall.nodes import Node, Section
from tillstream.oncall.policy import Person
from tillstream.oncall.schedules import EVERY_DAY, Hours, Override, Rotation, Schedule, moment_ms

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def schedule_of(name: str, node: Node, people: Mapping[str, Person]) -> Schedule:
    given = node.section(
        ("time_zone", "rotations", "overrides"), required=("time_zone", "rotations")
    )
    zone = zone_of(given["time_zone"])
    rotations = tuple(_rotation(one, people) for one in given["rotations"].items())
    if not rotations:
        raise given["rotations"].wrong(f"{name} has no rotation")
    overrides = given.get("overrides")
    return Schedule(
        name,
        zone,
        rotations,
        tuple(_override(one, people, zone) for one in (overrides.items() if overrides else ())),
    )


def _rotation(node: Node, people: Mapping[str, Person]) -> Rotation:
    given = node.section(
        ("people", "starts", "every", "hours", "days"), required=("people", "starts")
    )
    if "days" in given.values and "hours" not in given.values:
        raise given["days"].wrong("'days' needs 'hours'", hint="hours: 00:00-24:00 is whole days")
    members = tuple(one_of(one, people, "person") for one in given["people"].texts())
    every = given.get("every")
    days = _days_between(every) if every else 7
    return Rotation(members, _local(given["starts"]), days, hours_of(given))


def _days_between(node: Node) -> int:
    found = re.fullmatch(r"(?:(\d{1,3}) )?(day|week)s?", node.text())
    if not found or found[1] == "0":
        raise node.wrong(
            f"{node.text()!r} is not a number of days or weeks", hint="as in: week, 2 weeks, 1 day"
        )
    return int(found[1] or 1) * (7 if found[2] == "week" else 1)


def _override(node: Node, people: Mapping[str, Person], zone: ZoneInfo) -> Override:
    given = node.section(("person", "from", "until"), required=("person", "from", "until"))
    start, end = (moment_ms(_local(given[name]), zone) for name in ("from", "until"))
    if end <= start:
        raise given["until"].wrong("it ends before it begins")
    return Override(one_of(given["person"], people, "person"), start, end)


def hours_of(given: Section) -> Hours | None:
    node = given.get("hours")
    if node is None:
        return None
    found = re.fullmatch(r"(\d\d:\d\d)\s*-\s*(\d\d:\d\d)", node.text())
    if not found:
        raise node.wrong(f"{node.text()!r} is not a span of hours", hint="as in: 22:00-06:30")
    start, end = (_time(node, text) for text in found.groups())
    days = given.get("days")
    return Hours(start, end, _days(days) if days else EVERY_DAY)


def _time(node: Node, text: str) -> time:
    try:
        return time.fromisoformat("00:00" if text == "24:00" else text)
    except ValueError:
        raise node.wrong(f"{text!r} is not a time of day") from None


def _days(node: Node) -> frozenset[int]:
    return frozenset(_WEEKDAYS.index(one.choice(_WEEKDAYS)) for one in node.texts())


def zone_of(node: Node) -> ZoneInfo:
    try:
        return ZoneInfo(node.text())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise node.wrong(
            f"{node.text()!r} is not a time zone", hint="as in: Europe/Berlin, America/Chicago, UTC"
        ) from None


def _local(node: Node) -> datetime:
    try:
        found = datetime.fromisoformat(node.text())
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise node.wrong(f"{node.text()!r} is not a local time", hint="as in: 2026-03-02 08:00")
    return found


def one_of(node: Node, names: Mapping[str, object], what: str) -> str:
    if node.text() not in names:
        raise node.wrong(f"there is no {what} {node.text()!r}", hint=known(names))
    return node.text()


def known(names: Mapping[str, object]) -> str:
    return f"there are: {', '.join(names) or 'none'}"
