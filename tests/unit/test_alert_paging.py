"""What a pager is told."""

from dataclasses import replace

from tests.alerting import OPENED, T0_MS, detection
from tillstream.alerting.fold import fold
from tillstream.alerting.incidents import incidents
from tillstream.alerting.paging import dedup_key, events_v2, page_of

VIEW = fold([OPENED], []).view


def test_alert_as_an_event_of_pagerduty() -> None:
    body = events_v2(page_of(VIEW, console_url="https://shop.example/"), "key-1")
    assert body["routing_key"] == "key-1"
    assert body["event_action"] == "trigger"
    assert body["dedup_key"] == "tillstream/alert/alert-1"
    assert body["links"] == [
        {"href": "https://shop.example/alerts/alert-1", "text": "Open in tillstream"}
    ]
    payload = body["payload"]
    assert payload["summary"] == "Milk 1 l at store 304 has 6 left."
    assert (payload["source"], payload["severity"]) == ("store 304", "warning")
    assert (payload["component"], payload["group"]) == ("milk", "north")
    assert payload["timestamp"] == "2026-11-18T11:06:40+00:00"
    assert payload["custom_details"]["expected_lost_margin"] == "7.50"
    assert payload["custom_details"]["supplier_id"] == "V1"


def test_end_is_told_by_the_key_alone() -> None:
    body = events_v2(page_of(VIEW, action="resolve"), "key-1")
    assert body == {
        "routing_key": "key-1",
        "event_action": "resolve",
        "dedup_key": "tillstream/alert/alert-1",
    }


def test_key_stays_while_the_alert_changes() -> None:
    later = fold([OPENED, detection(2, risk=0.9)], []).view
    assert dedup_key(later) == dedup_key(VIEW)


def test_incident_is_one_page_with_one_key() -> None:
    views = [
        replace(VIEW, alert_id=f"alert-{n}", store_id=f"store-{n % 2}", incident_id="strike-1")
        for n in range(400)
    ]
    (strike,) = incidents(views)
    page = page_of(strike)
    assert (
        {dedup_key(view) for view in views} == {page.dedup_key} == {"tillstream/incident/strike-1"}
    )
    assert page.summary == "400 items of supplier Mill are running out in 2 stores"
    assert page.custom_details["expected_lost_margin"] == "3000.00"
    assert page.timestamp_ms == T0_MS
