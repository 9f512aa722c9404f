"""What the API takes and gives, as its OpenAPI description shows it."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tillstream.alerting.actions import Kind
from tillstream.alerting.alert import AlertView, Decision, Severity, State, Step

_Milliseconds = Annotated[int, Field(ge=0, le=4_102_444_800_000)]
_Number = Annotated[int, Field(ge=0, le=2_147_483_647)]
_Id = Annotated[str, Field(min_length=1, max_length=256)]
MOST_ACTIONS = 500


class ActionIn(BaseModel):
    """One thing to do to one alert. With `based_on` and `seen` (the alert's revision and version
    as you saw them) it is refused when somebody else was faster."""

    model_config = ConfigDict(extra="forbid")

    alert_id: _Id
    kind: Kind
    based_on: _Number | None = None
    seen: _Number | None = None
    comment: Annotated[str, Field(max_length=4096)] | None = None
    until_ms: _Milliseconds | None = None
    assignee: Annotated[str, Field(max_length=256)] | None = None
    level: Annotated[int, Field(ge=1, le=100)] | None = None
    undoes: _Id | None = None


class ActionsIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    actions: Annotated[list[ActionIn], Field(min_length=1, max_length=MOST_ACTIONS)]


class AlertOut(BaseModel):
    alert_id: str
    incident_id: str | None
    store_id: str
    product_id: str
    product_name: str
    region: str
    category: str
    supplier_id: str
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
    revision: int
    owner: str | None
    snoozed_until_ms: int | None
    escalation_level: int
    resolved_by: str | None
    resolution: str | None

    @classmethod
    def of(cls, view: AlertView) -> "AlertOut":
        return cls.model_validate({name: getattr(view, name) for name in cls.model_fields})


class AlertPage(BaseModel):
    """`next` is what to give as `after` for the next page; None on the last."""

    alerts: list[AlertOut]
    next: str | None


class DecisionOut(BaseModel):
    """`repeated`: the same action had been decided before, and this is that decision."""

    action_id: str
    alert_id: str
    kind: str
    accepted: bool
    reason: str
    repeated: bool
    alert: AlertOut | None

    @classmethod
    def of(cls, decision: Decision) -> "DecisionOut":
        return cls(
            action_id=decision.action.action_id,
            alert_id=decision.action.alert_id,
            kind=decision.action.kind,
            accepted=decision.accepted,
            reason=decision.reason,
            repeated=decision.repeated,
            alert=AlertOut.of(decision.view) if decision.view else None,
        )


class Decisions(BaseModel):
    decisions: list[DecisionOut]


class StepOut(BaseModel):
    """One line of an alert's history. `place` is its record in Kafka: topic:partition:offset."""

    at_ms: int
    place: str | None
    state: State
    what: str
    actor: str | None
    comment: str | None
    accepted: bool
    reason: str

    @classmethod
    def of(cls, step: Step) -> "StepOut":
        action, found = step.action, step.detection
        return cls(
            at_ms=step.at_ms,
            place=str(step.place) if step.place else None,
            state=step.state,
            what=action.kind if action else (found.state if found else ""),
            actor=action.actor if action else None,
            comment=action.comment if action else (found.explanation if found else None),
            accepted=step.accepted,
            reason=step.reason or step.note,
        )


class History(BaseModel):
    steps: list[StepOut]


class IncidentOut(BaseModel):
    incident_id: str
    supplier_id: str
    supplier_name: str
    severity: Severity
    expected_lost_margin: Decimal
    since_ms: int
    alert_ids: list[str]
    store_ids: list[str]


class IncidentPage(BaseModel):
    incidents: list[IncidentOut]


class ProblemOut(BaseModel):
    error: str
    hint: str
