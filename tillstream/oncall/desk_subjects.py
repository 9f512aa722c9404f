"""What the alert desk shows, as subjects to page about."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tillstream.alerting.alert import SEVERITIES, AlertView, State
from tillstream.alerting.incidents import Incident, incidents
from tillstream.alerting.paging import Page as PagedAlert
from tillstream.alerting.paging import dedup_key, page_of
from tillstream.oncall.subjects import Content, Status, Subject

_STATUS = {
    State.OPEN: Status.FIRING,
    State.ESCALATED: Status.FIRING,
    State.ACKNOWLEDGED: Status.ACKNOWLEDGED,
    State.SNOOZED: Status.SNOOZED,
    State.RESOLVED: Status.RESOLVED,
}


def subjects_of(alerts: Sequence[AlertView], *, console: str = "") -> list[Subject]:
    """One subject for each incident and for each alert of its own.

    An alert that joined an incident after it had been paged is over as a subject of its own: the
    incident speaks for it from then on.
    """
    members: dict[str, list[AlertView]] = {}
    found = []
    for alert in alerts:
        if alert.incident_id is None:
            found.append(_of_alert(alert, console))
        else:
            members.setdefault(alert.incident_id, []).append(alert)
            found.append(_absorbed(alert, console))
    whole = {one.incident_id: one for one in incidents(alerts)}
    for incident_id, of in members.items():
        found.append(_of_incident(of, whole.get(incident_id), console))
    return found


def answered(alert: AlertView) -> str:
    """Who did what, in words; nothing while it is open."""
    match alert.state:
        case State.ACKNOWLEDGED:
            return f"acknowledged by {alert.owner}" if alert.owner else "acknowledged"
        case State.SNOOZED:
            return f"snoozed by {alert.last_change.actor}" if alert.last_change else "snoozed"
        case State.RESOLVED:
            if alert.resolved_by in (None, "detector"):
                return "the shelf is safe again"
            reason = f": {alert.resolution}" if alert.resolution else ""
            return f"resolved by {alert.resolved_by}{reason}"
    return ""


def _of_alert(alert: AlertView, console: str) -> Subject:
    return Subject(
        key=dedup_key(alert),
        status=_STATUS[alert.state],
        severity=alert.severity.value,
        content=_content(page_of(alert, console_url=console or None), alert.severity.value),
        alert_ids=(alert.alert_id,),
        regions=_named([alert.region]),
        categories=_named([alert.category]),
        stores=_named([alert.store_id]),
        level=alert.escalation_level,
        note=answered(alert),
    )


def _absorbed(alert: AlertView, console: str) -> Subject:
    alone = _of_alert(replace(alert, incident_id=None), console)
    return replace(alone, status=Status.RESOLVED, note="it is part of an incident now")


def _of_incident(alerts: list[AlertView], whole: Incident | None, console: str) -> Subject:
    """`whole` is None when none of its alerts is live any more."""
    live = [alert for alert in alerts if alert.is_live]
    firing = _firing(live)
    shown = live or alerts
    severity = min((one.severity for one in firing or shown), key=SEVERITIES.index).value
    paged = page_of(whole or shown[0], console_url=console or None)
    return Subject(
        key=dedup_key(alerts[0]),
        status=_status(live, firing),
        severity=severity,
        content=_content(paged, severity),
        alert_ids=tuple(one.alert_id for one in firing),
        regions=_named(one.region for one in shown),
        categories=_named(one.category for one in shown),
        stores=_named(one.store_id for one in shown),
        level=max((one.escalation_level for one in firing), default=0),
        note=answered((live or alerts)[0]),
    )


def _firing(live: list[AlertView]) -> list[AlertView]:
    """The alerts of an incident that nobody has answered for. Whoever acknowledged it has answered
    for items that join later too, as long as those are no worse."""
    open_ones = [one for one in live if _STATUS[one.state] is Status.FIRING]
    answers = [one for one in live if one.state is State.ACKNOWLEDGED and one.last_change]
    if not answers:
        return open_ones
    answered_ms = max(one.last_change.at_ms for one in answers if one.last_change)
    worst = min(SEVERITIES.index(one.severity) for one in answers)
    return [
        one
        for one in open_ones
        if one.since_ms <= answered_ms
        or one.state is State.ESCALATED
        or SEVERITIES.index(one.severity) < worst
    ]


def _status(live: list[AlertView], firing: list[AlertView]) -> Status:
    if firing:
        return Status.FIRING
    if not live:
        return Status.RESOLVED
    snoozed = all(one.state is State.SNOOZED for one in live)
    return Status.SNOOZED if snoozed else Status.ACKNOWLEDGED


def _content(page: PagedAlert, severity: str) -> Content:
    return Content(
        summary=page.summary,
        source=page.source,
        severity=severity,
        opened_at_ms=page.timestamp_ms,
        details=page.custom_details,
        links=page.links,
        component=page.component,
        group=page.group,
    )


def _named(values: Iterable[str]) -> frozenset[str]:
    return frozenset(value for value in values if value)
