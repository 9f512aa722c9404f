"""What is known of an alert: by the detector, by people, and both together."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tillstream.alerting.actions import Action


class State(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


class Severity(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


# The most severe first.
SEVERITIES: tuple[Severity, ...] = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Place:
    """A record's coordinates in Kafka."""

    topic: str
    topic_id: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One step of the detector; (alert_id, version) is its identity. `opened_at_ms` and `at_ms` are
    stream time, `recorded_at_ms` is the wall clock. `place` is None until it is published."""

    alert_id: str
    version: int
    state: str
    store_id: str
    product_id: str
    product_name: str
    region: str
    category: str
    supplier_id: str
    supplier_name: str
    severity: Severity
    low_confidence: bool
    incident_id: str | None
    risk: float
    on_hand: int
    days_of_cover: float
    empty_p50_days: float
    expected_lost_margin: Decimal
    explanation: str
    opened_at_ms: int
    at_ms: int
    recorded_at_ms: int
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody wrote, with a change (`kind`) or by itself."""

    action_id: str
    kind: str
    actor: str
    text: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """The newest thing that people changed and that can be undone."""

    action_id: str
    kind: str
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """An alert as a person sees it.

    `version` counts the detector's steps, `revision` the changes that people made: an action sent
    with both says what its actor had seen. `since_ms` (wall clock) is when it was first recorded;
    `opened_at_ms` is stream time, which in a replay lies in the past. Days are days of demand.
    `resolved_by` is an actor, or "detector".
    """

    alert_id: str
    incident_id: str | None
    store_id: str
    product_id: str
    product_name: str
    region: str
    category: str
    supplier_id: str
    supplier_name: str
    state: State
    severity: Severity
    risk: float
    on_hand: int
    days_of_cover: float
    empty_p50_days: float
    expected_lost_margin: Decimal
    explanation: str
    low_confidence: bool
    opened_at_ms: int
    since_ms: int
    updated_at_ms: int
    version: int
    revision: int = 0
    owner: str | None = None
    snoozed_until_ms: int | None = None
    escalation_level: int = 0
    resolved_by: str | None = None
    resolution: str | None = None
    last_change: Change | None = None
    comments: tuple[Comment, ...] = ()

    @property
    def is_live(self) -> bool:
        return self.state is not State.RESOLVED


@dataclass(frozen=True, slots=True)
class Decision:
    """What the log decided about an action. `reason` says in words why it was refused; `view` is
    the alert after it, None for an alert that nobody knows. `repeated`: the same action had been
    decided before, and this is that decision."""

    action: Action
    accepted: bool
    reason: str
    view: AlertView | None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One line of an alert's history, in the order that counts. Exactly one of `detection` and
    `action` is given; `at_ms` is its arrival (wall clock) and `state` the alert's state after it.
    A refused action has a `reason`."""

    at_ms: int
    place: Place | None
    state: State
    detection: Detection | None = None
    action: Action | None = None
    accepted: bool = True
    reason: str = ""
    note: str = ""
