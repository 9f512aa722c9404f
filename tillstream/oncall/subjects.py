"""What people are paged about: an alert, or an incident that stands for many."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tillstream.oncall.policy import SEVERITIES, Policy, Rule


class Status(StrEnum):
    """Only what is firing pages anybody."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Content:
    """What a page says. `details` are plain values, as JSON has them."""

    summary: str
    source: str
    severity: str
    opened_at_ms: int
    details: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()
    """(address, text) each."""
    component: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing to page about. `key` is the deduplication key that every channel gets.

    `level` is how far it has been escalated: 1 means the second step of its rule.
    """

    key: str
    status: Status
    severity: str
    content: Content
    alert_ids: tuple[str, ...]
    regions: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    stores: frozenset[str] = frozenset()
    level: int = 0
    note: str = ""
    """Who answered, for those who were paged."""


def rule_for(policy: Policy, subject: Subject) -> Rule | None:
    """The first rule that takes it. An incident in several regions, categories or stores is taken
    by a rule that names one of them."""
    for rule in policy.rules:
        when = rule.when
        if (
            (not when.severity or subject.severity in when.severity)
            and _meets(when.region, subject.regions)
            and _meets(when.category, subject.categories)
            and _meets(when.store, subject.stores)
        ):
            return rule
    return None


def is_worse(severity: str, than: str) -> bool:
    return severity_rank(severity) < severity_rank(than)


def severity_rank(severity: str) -> int:
    """0 is the worst."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _meets(wanted: frozenset[str], found: frozenset[str]) -> bool:
    return not wanted or not wanted.isdisjoint(found)
