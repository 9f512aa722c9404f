"""PagerDuty's Events API v2, and whatever speaks it.

https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from typing import Any

from tillstream.alerting.paging import Page as PagedAlert
from tillstream.alerting.paging import events_v2
from tillstream.oncall.channels.channel import Answer
from tillstream.oncall.channels.http import JsonPost
from tillstream.oncall.records import Page

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
_SEVERITY = {"critical": "critical", "high": "error", "medium": "warning", "low": "info"}
_SUMMARY_CHARS = 1024
_KEY_CHARS = 255


class PagerDuty:
    """One service of PagerDuty. Events with one key are one incident there, so a page repeated, or
    sent by the next step too, opens nothing new."""

    def __init__(self, routing_key: str, *, timeout_s: float, url: str = PAGERDUTY_URL) -> None:
        self._http = JsonPost(url, timeout_s=timeout_s)
        self._routing_key = routing_key

    def send(self, page: Page) -> Answer:
        return self._http.post(event(page, self._routing_key), {})

    def close(self) -> None:
        self._http.close()


def event(page: Page, routing_key: str) -> dict[str, Any]:
    """The page as an event of the API."""
    content = page.content
    told = PagedAlert(
        action=page.event,
        dedup_key=page.key[:_KEY_CHARS],
        severity=_SEVERITY.get(content.severity, "error"),
        summary=content.summary[:_SUMMARY_CHARS],
        source=content.source,
        timestamp_ms=content.opened_at_ms,
        component=content.component,
        group=content.group,
        links=content.links,
        custom_details={**content.details, "page_id": page.page_id, "paged": page.target},
    )
    return events_v2(told, routing_key)
