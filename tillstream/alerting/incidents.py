"""Alerts with one cause, as one."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from tillstream.alerting.alert import SEVERITIES, AlertView, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """The live alerts of one supplier who delivers nothing. Its id stays as long as it lasts."""

    incident_id: str
    supplier_id: str
    supplier_name: str
    severity: Severity
    expected_lost_margin: Decimal
    opened_at_ms: int
    since_ms: int
    alert_ids: tuple[str, ...]
    store_ids: tuple[str, ...]


def incidents(alerts: Iterable[AlertView]) -> list[Incident]:
    """One for each incident id among the live alerts, the most expensive first."""
    members: dict[str, list[AlertView]] = {}
    for alert in alerts:
        if alert.incident_id and alert.is_live:
            members.setdefault(alert.incident_id, []).append(alert)
    found = [_incident(key, of) for key, of in members.items()]
    return sorted(found, key=lambda one: (-one.expected_lost_margin, one.incident_id))


def _incident(incident_id: str, alerts: list[AlertView]) -> Incident:
    return Incident(
        incident_id=incident_id,
        supplier_id=alerts[0].supplier_id,
        supplier_name=alerts[0].supplier_name,
        severity=min((one.severity for one in alerts), key=SEVERITIES.index),
        expected_lost_margin=sum((one.expected_lost_margin for one in alerts), Decimal(0)),
        opened_at_ms=min(one.opened_at_ms for one in alerts),
        since_ms=min(one.since_ms for one in alerts),
        alert_ids=tuple(one.alert_id for one in alerts),
        store_ids=tuple(sorted({one.store_id for one in alerts})),
    )
