"""Detections and actions made by hand."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from tillstream.alerting.actions import Action
from tillstream.alerting.alert import Detection, Place, Severity
from tillstream.alerting.fold import Logged

T0_MS = 1_795_000_000_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000

OPENED = Detection(
    alert_id="alert-1",
    version=1,
    state="opened",
    store_id="304",
    product_id="milk",
    product_name="Milk 1 l",
    region="north",
    category="dairy",
    supplier_id="V1",
    supplier_name="Mill",
    severity=Severity.MEDIUM,
    low_confidence=False,
    incident_id=None,
    risk=0.7,
    on_hand=6,
    days_of_cover=1.5,
    empty_p50_days=1.4,
    expected_lost_margin=Decimal("7.50"),
    explanation="Milk 1 l at store 304 has 6 left.",
    opened_at_ms=T0_MS - HOUR_MS,
    at_ms=T0_MS - HOUR_MS,
    recorded_at_ms=T0_MS,
)


def detection(version: int, state: str = "updated", **changes: Any) -> Detection:
    """The step of that version, recorded that many minutes after the first."""
    at_ms = T0_MS + (version - 1) * MINUTE_MS
    return replace(OPENED, version=version, state=state, recorded_at_ms=at_ms, **changes)


def logged(offset: int, kind: str, actor: str = "kim", **said: Any) -> Logged:
    """An action at that offset, which arrived that many minutes after the first step."""
    at_ms = said.pop("arrival_ms", T0_MS + offset * MINUTE_MS)
    action = Action(
        action_id=said.pop("action_id", f"action-{offset}"),
        alert_id=said.pop("alert_id", OPENED.alert_id),
        kind=kind,
        actor=actor,
        at_ms=at_ms,
        **said,
    )
    return Logged(action, Place("retail-alert-actions", "topic", 0, offset), at_ms)
