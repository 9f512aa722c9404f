"""What a policy says: which alerts reach whom, through what, and what happens when nobody answers.

A policy is data. `policy_file.py` reads it; `deciding.py` applies it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from tillstream.oncall.schedules import Hours, Schedule

SEVERITIES = ("critical", "high", "medium", "low")


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is; never the secret itself."""

    source: str
    """`env` or `file`"""
    name: str
    line: int

    def __str__(self) -> str:
        what = "environment variable" if self.source == "env" else "file"
        return f"{what} {self.name}"


class ChannelType(StrEnum):
    WEBHOOK = "webhook"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One channel. `options` are those of its type, `secrets` are found when it is opened."""

    name: str
    type: ChannelType
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, SecretRef] = field(default_factory=dict)
    pages_per_minute: int = 60
    timeout_s: float = 10.0
    dead_after_s: float = 60.0
    follow_up: bool = True
    """Whether it is also told that an alert was acknowledged or is over."""


@dataclass(frozen=True, slots=True)
class Reach:
    """A channel, and where in it: a mail address, a Slack member. Empty: the channel's own."""

    channel: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to page, through the first channel that works."""

    key: str
    name: str
    reach: tuple[Reach, ...]


@dataclass(frozen=True, slots=True)
class When:
    """Which alerts a rule takes. An empty set takes all."""

    severity: frozenset[str] = frozenset()
    region: frozenset[str] = frozenset()
    category: frozenset[str] = frozenset()
    store: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """Page these (schedules, people, channels) when the step before was not acknowledged within
    `after_ms`."""

    page: tuple[str, ...]
    after_ms: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours in which a rule pages nobody; what comes up waits for their end."""

    zone: ZoneInfo
    hours: Hours


@dataclass(frozen=True, slots=True)
class Rule:
    """`wait_ms` gathers what belongs together before the first page. `repeat_ms` after the last
    step everything begins again, until somebody answers; 0 does not."""

    name: str
    when: When
    steps: tuple[Step, ...]
    wait_ms: int = 10_000
    repeat_ms: int = 0
    quiet: Quiet | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything at once. `source` is the file's name, `folder` is what relative paths of secrets
    start from."""

    channels: Mapping[str, ChannelSpec]
    people: Mapping[str, Person]
    schedules: Mapping[str, Schedule]
    rules: tuple[Rule, ...]
    console: str = ""
    source: str = "policy"
    folder: Path = Path()
