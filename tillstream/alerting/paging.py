"""What pagers expect to be told, with the field names of PagerDuty's Events API v2."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tillstream.alerting.alert import AlertView, Severity
from tillstream.alerting.incidents import Incident

SOURCE = "tillstream"
# The severities that the Events API knows.
_SEVERITY = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
}
_SUMMARY_CHARS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One event for a pager. The same `dedup_key` is the same incident at the pager's side, however
    often it is sent; `action` is "trigger", "acknowledge" or "resolve"."""

    action: str
    dedup_key: str
    severity: str
    summary: str
    source: str
    timestamp_ms: int
    component: str
    group: str
    links: tuple[tuple[str, str], ...]
    custom_details: dict[str, Any]


def dedup_key(of: AlertView | Incident) -> str:
    """The incident's where there is one: 400 items are one page."""
    if isinstance(of, AlertView) and of.incident_id is None:
        return f"tillstream/alert/{of.alert_id}"
    return f"tillstream/incident/{of.incident_id}"


def page_of(
    of: AlertView | Incident, *, action: str = "trigger", console_url: str | None = None
) -> Page:
    """The page about one alert or one incident; with the console's address, a link to it."""
    if isinstance(of, Incident):
        return _of_incident(of, action, console_url)
    return Page(
        action=action,
        dedup_key=dedup_key(of),
        severity=_SEVERITY[of.severity],
        summary=of.explanation[:_SUMMARY_CHARS],
        source=f"store {of.store_id}",
        timestamp_ms=of.since_ms,
        component=of.product_id,
        group=of.region or of.store_id,
        links=_links(console_url, f"alerts/{quote(of.alert_id)}"),
        custom_details={
            "alert_id": of.alert_id,
            "store_id": of.store_id,
            "product_id": of.product_id,
            "product_name": of.product_name,
            "category": of.category,
            "supplier_id": of.supplier_id,
            "severity": of.severity.value,
            "risk": round(of.risk, 4),
            "on_hand": of.on_hand,
            "expected_lost_margin": str(of.expected_lost_margin),
            "low_confidence": of.low_confidence,
            "version": of.version,
            "revision": of.revision,
        },
    )


def _of_incident(of: Incident, action: str, console_url: str | None) -> Page:
    supplier = of.supplier_name or of.supplier_id
    stores = f"{len(of.store_ids)} store{'s' if len(of.store_ids) != 1 else ''}"
    return Page(
        action=action,
        dedup_key=dedup_key(of),
        severity=_SEVERITY[of.severity],
        summary=f"{len(of.alert_ids)} items of supplier {supplier} are running out in {stores}",
        source=f"supplier {of.supplier_id}",
        timestamp_ms=of.since_ms,
        component=of.supplier_id,
        group="suppliers",
        links=_links(console_url, f"incidents/{quote(of.incident_id, safe='')}"),
        custom_details={
            "incident_id": of.incident_id,
            "supplier_id": of.supplier_id,
            "supplier_name": of.supplier_name,
            "severity": of.severity.value,
            "items": len(of.alert_ids),
            "stores": list(of.store_ids),
            "expected_lost_margin": str(of.expected_lost_margin),
        },
    )


def events_v2(page: Page, routing_key: str) -> dict[str, Any]:
    """The page as the body of a request to PagerDuty's Events API v2."""
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": page.action,
        "dedup_key": page.dedup_key,
    }
    if page.action == "trigger":
        body["client"] = SOURCE
        body["links"] = [{"href": href, "text": text} for href, text in page.links]
        body["payload"] = {
            "summary": page.summary,
            "source": page.source,
            "severity": page.severity,
            "timestamp": datetime.fromtimestamp(page.timestamp_ms / 1000, UTC).isoformat(),
            "component": page.component,
            "group": page.group,
            "class": "stock-out risk",
            "custom_details": page.custom_details,
        }
    return body


def _links(console_url: str | None, path: str) -> tuple[tuple[str, str], ...]:
    return ((f"{console_url.rstrip('/')}/{path}", "Open in tillstream"),) if console_url else ()
