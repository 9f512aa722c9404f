"""The REST API: the same alerts and actions as the pages, for programs."""

import base64
import binascii
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request

from tillstream.alerting.actions import new_action
from tillstream.alerting.alert import AlertView, Severity
from tillstream.web.board import rank
from tillstream.web.filters import ACTIVE, STATES, Filters
from tillstream.web.gate import Acting, Caller, ConsoleHere
from tillstream.web.idempotency import Answers, action_id
from tillstream.web.problems import Problem, not_found
from tillstream.web.routes.bodies import (
    ActionsIn,
    AlertOut,
    AlertPage,
    DecisionOut,
    Decisions,
    History,
    IncidentOut,
    IncidentPage,
    ProblemOut,
    StepOut,
)

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemOut} for status in (400, 401, 403, 404, 409, 413, 422, 503)
}

router = APIRouter(prefix="/api/v1", tags=["alerts"], responses=_PROBLEMS)

_MOST_A_PAGE = 500
_Name = Annotated[str, Query(max_length=256)]


@router.get("/alerts")
def alerts(
    console: ConsoleHere,
    person: Caller,
    region: _Name = "",
    store: _Name = "",
    category: _Name = "",
    severity: Severity | None = None,
    state: Annotated[str, Query(enum=list(STATES))] = ACTIVE,
    text: _Name = "",
    limit: Annotated[int, Query(ge=1, le=_MOST_A_PAGE)] = 100,
    after: Annotated[str | None, Query(max_length=1000)] = None,
) -> AlertPage:
    """Alerts by what they are expected to cost, the most expensive first."""
    if state not in STATES:
        raise Problem(422, f"state must be one of {', '.join(STATES)}, got {state!r}")
    wanted = Filters(region, store, category, severity or "", state, text)
    found = wanted.of(console.board.alerts(person.scope))
    if after is not None:
        place = _place_of(after)
        found = [view for view in found if rank(view) > place]
    page = found[:limit]
    more = len(found) > limit
    return AlertPage(
        alerts=[AlertOut.of(view) for view in page], next=_cursor(page[-1]) if more else None
    )


@router.get("/alerts/{alert_id}")
def alert(request: Request, console: ConsoleHere, person: Caller, alert_id: str) -> AlertOut:
    view = console.board.alert(alert_id, person.scope)
    if view is None:
        raise not_found(person.name, f"alert {alert_id}")
    return AlertOut.of(view)


@router.get("/alerts/{alert_id}/history")
def history(request: Request, console: ConsoleHere, person: Caller, alert_id: str) -> History:
    """What the detector found and what people did, in the order that counts."""
    if console.board.alert(alert_id, person.scope) is None:
        raise not_found(person.name, f"alert {alert_id}")
    return History(steps=[StepOut.of(step) for step in console.board.history(alert_id)])


@router.get("/incidents")
def incidents(console: ConsoleHere, person: Caller) -> IncidentPage:
    """Causes with more than one live alert, with those of their alerts that you may see."""
    return IncidentPage(
        incidents=[
            IncidentOut(
                incident_id=one.incident_id,
                supplier_id=one.supplier_id,
                supplier_name=one.supplier_name,
                severity=one.severity,
                expected_lost_margin=one.expected_lost_margin,
                since_ms=one.since_ms,
                alert_ids=list(one.alert_ids),
                store_ids=list(one.store_ids),
            )
            for one in console.board.incidents(person.scope)
        ]
    )


@router.post("/actions")
def act(
    request: Request,
    console: ConsoleHere,
    person: Acting,
    body: ActionsIn,
    idempotency_key: Annotated[str | None, Header(min_length=8, max_length=200)] = None,
) -> Decisions:
    """Do something to alerts. Each action is an event in Kafka, and the order there decides: one
    that came too late is answered with `accepted: false` and who was first.

    With an Idempotency-Key the same request can be sent again: it counts once.
    """
    answers = Answers(console.database, console.clock)
    asked = body.model_dump(mode="json")
    if idempotency_key is not None:
        before = answers.find(person.name, idempotency_key, asked)
        if before is not None:
            return Decisions.model_validate(before)
    for one in body.actions:
        if console.board.alert(one.alert_id, person.scope) is None:
            raise not_found(person.name, f"alert {one.alert_id}")
    decided = console.board.act(
        [
            new_action(
                actor=person.name,
                at_ms=console.clock.now_ms(),
                action_id=action_id(person.name, idempotency_key, number),
                **one.model_dump(),
            )
            for number, one in enumerate(body.actions)
        ]
    )
    found = Decisions(decisions=[DecisionOut.of(decision) for decision in decided])
    if idempotency_key is not None:
        answers.keep(person.name, idempotency_key, asked, found.model_dump(mode="json"))
    return found


def _cursor(view: AlertView) -> str:
    text = "|".join(str(part) for part in rank(view))
    return base64.urlsafe_b64encode(text.encode()).decode()


def _place_of(cursor: str) -> tuple[Decimal, int, str]:
    try:
        margin, opened_at_ms, alert_id = base64.urlsafe_b64decode(cursor).decode().split("|", 2)
        return Decimal(margin), int(opened_at_ms), alert_id
    except (binascii.Error, InvalidOperation, ValueError) as exc:
        raise Problem(422, "after: not what an earlier page gave as `next`") from exc
