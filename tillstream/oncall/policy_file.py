"""A policy from its YAML file. Everything wrong is told with its line."""

import re
from collections.abc import Mapping
from pathlib import Path

from tillstream.oncall.channel_options import channel_spec, check_url
from tillstream.oncall.nodes import Node, PolicyError, Section, load_nodes
from tillstream.oncall.policy import (
    SEVERITIES,
    ChannelSpec,
    Person,
    Policy,
    Quiet,
    Reach,
    Rule,
    Step,
    When,
)
from tillstream.oncall.schedule_file import hours_of, known, one_of, schedule_of, zone_of

_SECTIONS = ("console", "channels", "people", "schedules", "rules")
_LONGEST_MINUTES = 7 * 24 * 60


def read_policy(path: Path) -> Policy:
    """Raises PolicyError: the line and the reason; or that the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise PolicyError(
            f"there is no policy at {path}",
            hint="begin with a copy of deploy/oncall/policy.yaml",
        ) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise PolicyError(f"{path} cannot be read: {exc}") from exc
    return parse_policy(text, source=str(path), folder=path.parent)


def parse_policy(text: str, *, source: str = "policy", folder: Path = Path()) -> Policy:
    """`folder` is where relative paths of secrets start."""
    root = load_nodes(text, source=source).section(
        _SECTIONS, required=("channels", "people", "rules")
    )
    _distinct_names(root)
    channels = {name: channel_spec(name, node) for name, node in root["channels"].entries().items()}
    people = {
        name: _person(name, node, channels) for name, node in root["people"].entries().items()
    }
    listed = root.get("schedules")
    schedules = {
        name: schedule_of(name, node, people)
        for name, node in (listed.entries() if listed else {}).items()
    }
    targets = {**channels, **people, **schedules}
    rules = [_rule(node, targets, channels) for node in root["rules"].items()]
    if not rules:
        raise root["rules"].wrong("there is no rule: nobody would be paged")
    names = [rule.name for rule in rules]
    for node, name in zip(root["rules"].items(), names, strict=True):
        if names.count(name) > 1:
            raise node.wrong(f"two rules are called {name!r}")
    console = root.text("console", "")
    if console and (problem := check_url(console)):
        raise root["console"].wrong(problem)
    return Policy(
        channels,
        people,
        schedules,
        tuple(rules),
        console=console.rstrip("/"),
        source=source,
        folder=folder,
    )


def _distinct_names(root: Section) -> None:
    """A step names a schedule, a person or a channel; it must be plain which."""
    seen: dict[str, tuple[str, int]] = {}
    for section in ("channels", "people", "schedules"):
        node = root.get(section)
        for name, one in (node.entries() if node else {}).items():
            if name in seen:
                where, line = seen[name]
                raise one.wrong(f"{name!r} is also one of {where} (line {line})")
            seen[name] = section, one.line


def _person(key: str, node: Node, channels: Mapping[str, ChannelSpec]) -> Person:
    given = node.section(("name", "reach"), required=("reach",))
    reach = tuple(_reach(one, channels) for one in given["reach"].items())
    if not reach:
        raise given["reach"].wrong(f"{key} has no channel")
    return Person(key, given.text("name", key), reach)


def _reach(node: Node, channels: Mapping[str, ChannelSpec]) -> Reach:
    """`channel`, or `channel: address`."""
    name, address = node, ""
    if node.is_mapping:
        entries = list(node.entries().items())
        if len(entries) != 1:
            raise node.wrong("expected one channel: address")
        [(channel, value)] = entries
        address = value.text()
    else:
        channel = node.text()
    if channel not in channels:
        raise name.wrong(f"there is no channel {channel!r}", hint=known(channels))
    _addressed(node, channels[channel], address)
    return Reach(channel, address)


def _addressed(node: Node, channel: ChannelSpec, address: str) -> None:
    if channel.type != "email":
        return
    if not address and "to" not in channel.options:
        raise node.wrong(
            f"{channel.name} needs a mail address",
            hint=f"write {{{channel.name}: somebody@example.com}}, or give the channel a `to`",
        )
    if address and ("@" not in address or re.search(r"\s", address)):
        raise node.wrong(f"{address!r} is not a mail address")


def _rule(node: Node, targets: Mapping[str, object], channels: Mapping[str, ChannelSpec]) -> Rule:
    given = node.section(
        ("name", "when", "wait_seconds", "steps", "repeat_minutes", "quiet_hours"),
        required=("name", "steps"),
    )
    steps = tuple(_step(one, targets, channels) for one in given["steps"].items())
    if not steps:
        raise given["steps"].wrong("there is no step: nobody would be paged")
    return Rule(
        given["name"].text(),
        _when(given.get("when")),
        steps,
        wait_ms=round(given.number("wait_seconds", 10, least=0, most=3_600) * 1000),
        repeat_ms=_minutes_ms(given, "repeat_minutes"),
        quiet=_quiet(given.get("quiet_hours")),
    )


def _when(node: Node | None) -> When:
    if node is None:
        return When()
    given = node.section(("severity", "region", "category", "store"))
    chosen = {
        name: frozenset(one.text() for one in value.texts()) for name, value in given.values.items()
    }
    if "severity" in given.values:
        for one in given["severity"].texts():
            one.choice(SEVERITIES)
    return When(**chosen)


def _step(node: Node, targets: Mapping[str, object], channels: Mapping[str, ChannelSpec]) -> Step:
    given = node.section(("page", "after_minutes"), required=("page",))
    page = given["page"].texts()
    for one in page:
        name = one_of(one, targets, "schedule, person or channel")
        if name in channels:
            _addressed(one, channels[name], "")
    return Step(tuple(one.text() for one in page), _minutes_ms(given, "after_minutes"))


def _quiet(node: Node | None) -> Quiet | None:
    if node is None:
        return None
    given = node.section(("time_zone", "hours", "days"), required=("time_zone", "hours"))
    hours = hours_of(given)
    assert hours is not None
    return Quiet(zone_of(given["time_zone"]), hours)


def _minutes_ms(given: Section, name: str) -> int:
    return round(given.number(name, 0, least=0, most=_LONGEST_MINUTES) * 60_000)
