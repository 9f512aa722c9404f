"""What each step of the detector and each action of a person makes of an alert. Pure."""

from dataclasses import replace

from tillstream.alerting.actions import Action, Kind
from tillstream.alerting.alert import AlertView, Detection, State
from tillstream.alerting.severity import is_graver

# A snooze ends when the risk has risen by this since. Not a setting: it decides what the log means.
WORSE_RISK = 0.15
DETECTOR = "detector"


def awake(view: AlertView, now_ms: int) -> AlertView:
    """The view with a snooze that is over ended. That is no change by anybody: the revision stays,
    and so do owner and level."""
    if view.state is State.SNOOZED and (view.snoozed_until_ms or 0) <= now_ms:
        return replace(view, state=State.OPEN, snoozed_until_ms=None)
    return view


def opened(step: Detection) -> AlertView:
    return AlertView(
        alert_id=step.alert_id,
        incident_id=step.incident_id,
        store_id=step.store_id,
        product_id=step.product_id,
        product_name=step.product_name,
        region=step.region,
        category=step.category,
        supplier_id=step.supplier_id,
        supplier_name=step.supplier_name,
        state=State.OPEN,
        severity=step.severity,
        risk=step.risk,
        on_hand=step.on_hand,
        days_of_cover=step.days_of_cover,
        empty_p50_days=step.empty_p50_days,
        expected_lost_margin=step.expected_lost_margin,
        explanation=step.explanation,
        low_confidence=step.low_confidence,
        opened_at_ms=step.opened_at_ms,
        since_ms=step.recorded_at_ms,
        updated_at_ms=step.recorded_at_ms,
        version=step.version,
    )


def detected(view: AlertView, step: Detection) -> AlertView:
    """The view after the detector's next step: what people did stays."""
    return replace(
        view,
        incident_id=step.incident_id,
        severity=step.severity,
        risk=step.risk,
        on_hand=step.on_hand,
        days_of_cover=step.days_of_cover,
        empty_p50_days=step.empty_p50_days,
        expected_lost_margin=step.expected_lost_margin,
        explanation=step.explanation,
        low_confidence=step.low_confidence,
        updated_at_ms=max(view.updated_at_ms, step.recorded_at_ms),
        version=step.version,
    )


def is_worse(before: AlertView, now: AlertView) -> bool:
    emptied = before.on_hand > 0 >= now.on_hand
    return (
        is_graver(now.severity, before.severity) or emptied or now.risk - before.risk >= WORSE_RISK
    )


def changed(view: AlertView, action: Action) -> AlertView:
    """The view after an action that was accepted."""
    match action.kind:
        case Kind.ACKNOWLEDGE:
            return replace(
                view, state=State.ACKNOWLEDGED, owner=action.actor, snoozed_until_ms=None
            )
        case Kind.ASSIGN:
            return replace(view, owner=action.assignee)
        case Kind.SNOOZE:
            return replace(view, state=State.SNOOZED, snoozed_until_ms=action.until_ms)
        case Kind.ESCALATE:
            level = action.level or view.escalation_level + 1
            return replace(
                view, state=State.ESCALATED, escalation_level=level, snoozed_until_ms=None
            )
        case Kind.RESOLVE:
            return replace(
                view,
                state=State.RESOLVED,
                resolved_by=action.actor,
                resolution=action.comment,
                snoozed_until_ms=None,
            )
        case Kind.REOPEN:
            return replace(
                view,
                state=State.OPEN,
                owner=None,
                snoozed_until_ms=None,
                escalation_level=0,
                resolved_by=None,
                resolution=None,
            )
    return view


def as_people_had_it(view: AlertView, before: AlertView) -> AlertView:
    """What the detector says stays; what people decided goes back to what it was."""
    return replace(
        view,
        state=before.state,
        owner=before.owner,
        snoozed_until_ms=before.snoozed_until_ms,
        escalation_level=before.escalation_level,
        resolved_by=before.resolved_by,
        resolution=before.resolution,
    )
