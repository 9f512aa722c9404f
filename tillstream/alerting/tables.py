"""Alerts in the warehouse: the detector's steps, people's actions, and what they come to."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import select
from clickhouse.writer import insert
from tillstream.alerting.actions import Action
from tillstream.alerting.alert import Decision, Detection, Place, Severity
from tillstream.alerting.fold import Folded, Logged
from tillstream.alerting.severity import severity_of
from tillstream.contracts.topics import Topic

_STEPS = (
    "SELECT h.alert_id AS alert_id, h.version AS version, toString(h.state) AS state,"
    " toString(h.store_id) AS store_id, h.product_id AS product_id,"
    " h.product_name AS product_name, toString(h.region) AS region,"
    " toString(h.category) AS category, h.supplier_id AS supplier_id,"
    " h.supplier_name AS supplier_name, toString(h.severity) AS severity,"
    " h.low_confidence AS low_confidence, h.incident_id AS incident_id, h.risk AS risk,"
    " h.on_hand AS on_hand, h.days_of_cover AS days_of_cover,"
    " h.empty_p50_days AS empty_p50_days, h.expected_lost_margin AS expected_lost_margin,"
    " h.explanation AS explanation, toUnixTimestamp64Milli(h.opened_at) AS opened_at_ms,"
    " toUnixTimestamp64Milli(h.at) AS at_ms,"
    " toUnixTimestamp64Micro(h.recorded_at) AS recorded_us,"
    " p.alert_id != '' AS is_published, p.partition AS partition, p.offset AS offset"
    " FROM (SELECT * FROM restock_alert_history FINAL WHERE {which}) AS h"
    " LEFT JOIN (SELECT * FROM restock_alerts_published FINAL WHERE {published}) AS p"
    " ON p.alert_id = h.alert_id AND p.version = h.version ORDER BY h.alert_id, h.version"
)
_ACTIONS = (
    "SELECT alert_id, toString(topic_id) AS topic_id, partition, offset,"
    " toUnixTimestamp64Milli(arrival) AS arrival_ms, action_id, toString(kind) AS kind,"
    " toString(actor) AS actor, toUnixTimestamp64Milli(at) AS at_ms, based_on, seen, comment,"
    " toUnixTimestamp64Milli(until) AS until_ms, assignee, level, undoes FROM alert_actions FINAL"
)
_OF_KEYS = "alert_id IN (SELECT alert_id FROM keys)"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log: an action with its decision, if there is one yet, or bytes that could not
    be read (`trouble`)."""

    place: Place
    arrival_ms: int
    action: Action | None = None
    decision: Decision | None = None
    trouble: str = ""

    @property
    def is_decided(self) -> bool:
        return self.action is None or self.decision is not None


@dataclass(frozen=True, slots=True)
class Recorded:
    """That the detector recorded a step, and when (wall clock)."""

    alert_id: str
    version: int
    at_ms: int


def recorded_since(client: Client, since_ms: int) -> list[Recorded]:
    """Which steps the detector recorded since then (wall clock), the same one perhaps twice. A
    projection answers, so that it may be asked twice a second of years of alerts."""
    rows = select(
        client,
        "SELECT alert_id, version, toUnixTimestamp64Milli(recorded_at) AS at_ms"
        " FROM restock_alert_history"
        f" WHERE recorded_at >= fromUnixTimestamp64Milli({max(since_ms, 0)}, 'UTC')",
    )
    return [Recorded(**row) for row in rows.to_pylist()]


def steps_of(client: Client, alert_ids: Collection[str]) -> list[Detection]:
    """All steps of these alerts, by alert and version."""
    sql = _STEPS.format(which=_OF_KEYS, published=_OF_KEYS)
    rows = select(client, sql, keys=_keys(alert_ids))
    return [_detection(row) for row in rows.to_pylist()]


def current_alerts(client: Client, *, since_ms: int) -> list[str]:
    """The ids of alerts that the detector has not ended, or not before `since_ms` (wall clock)."""
    rows = select(
        client,
        "SELECT alert_id FROM restock_alert_history GROUP BY alert_id"
        " HAVING argMax(state, version) != 'resolved'"
        f" OR max(recorded_at) >= fromUnixTimestamp64Milli({since_ms}, 'UTC')",
    )
    return list(rows["alert_id"].to_pylist())


def actions_of(client: Client, alert_ids: Collection[str]) -> list[Logged]:
    """All stored actions on these alerts, in no order."""
    sql = f"{_ACTIONS} WHERE outcome != 'unreadable' AND {_OF_KEYS}"
    rows = select(client, sql, keys=_keys(alert_ids)).to_pylist()
    return [_logged(row) for row in rows]


def waiting_entries(client: Client) -> list[Entry]:
    """Actions that were stored before they could be decided."""
    rows = select(client, f"{_ACTIONS} WHERE is_decided = 0").to_pylist()
    found = [_logged(row) for row in rows]
    return [Entry(one.place, one.arrival_ms, one.action) for one in found]


def next_offset(client: Client, topic_id: str) -> int:
    """Everything below it is stored: each process writes in the order of the log, from here on."""
    rows = select(
        client,
        "SELECT max(offset) + 1 AS next FROM alert_actions WHERE topic_id = {topic_id:String}"
        " HAVING count() > 0",
        parameters={"topic_id": topic_id},
    )
    return int(rows["next"][0].as_py()) if rows.num_rows else 0


def write_entries(client: Client, entries: Sequence[Entry]) -> None:
    """Store the entries; storing them again changes nothing."""
    if entries:
        now_us = time.time_ns() // 1000
        rows = [_entry_row(entry, now_us) for entry in entries]
        insert(client, "alert_actions", pa.Table.from_pylist(rows, schema=_ENTRIES))


def write_states(client: Client, folded: Sequence[Folded]) -> None:
    """Store what people have made of these alerts."""
    rows = [
        {
            "alert_id": (view := one.by_people).alert_id,
            "steps": len(one.steps),
            "state": view.state.value,
            "revision": view.revision,
            "owner": view.owner,
            "snoozed_until": view.snoozed_until_ms,
            "escalation_level": view.escalation_level,
            "resolved_by": view.resolved_by,
            "resolution": view.resolution,
            "updated_at": view.updated_at_ms,
        }
        for one in folded
    ]
    if rows:
        insert(client, "alert_states", pa.Table.from_pylist(rows, schema=_STATES))


_MS = pa.timestamp("ms", tz="UTC")
_ENTRIES = pa.schema(
    [
        ("alert_id", pa.string()),
        ("topic_id", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("arrival", _MS),
        ("action_id", pa.string()),
        ("kind", pa.string()),
        ("actor", pa.string()),
        ("at", _MS),
        ("based_on", pa.int32()),
        ("seen", pa.int32()),
        ("comment", pa.string()),
        ("until", _MS),
        ("assignee", pa.string()),
        ("level", pa.int32()),
        ("undoes", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("state", pa.string()),
        ("revision", pa.int32()),
        ("owner", pa.string()),
        ("escalation_level", pa.int32()),
        ("is_decided", pa.uint8()),
        ("decided_at", pa.timestamp("us", tz="UTC")),
    ]
)
_STATES = pa.schema(
    [
        ("alert_id", pa.string()),
        ("steps", pa.uint32()),
        ("state", pa.string()),
        ("revision", pa.int32()),
        ("owner", pa.string()),
        ("snoozed_until", _MS),
        ("escalation_level", pa.int32()),
        ("resolved_by", pa.string()),
        ("resolution", pa.string()),
        ("updated_at", _MS),
    ]
)


def _entry_row(entry: Entry, now_us: int) -> dict[str, Any]:
    action, decision = entry.action, entry.decision
    view = decision.view if decision else None
    return {
        "alert_id": action.alert_id if action else "",
        "topic_id": entry.place.topic_id,
        "partition": entry.place.partition,
        "offset": entry.place.offset,
        "arrival": entry.arrival_ms,
        "action_id": action.action_id if action else "",
        "kind": action.kind if action else "",
        "actor": action.actor if action else "",
        "at": action.at_ms if action else entry.arrival_ms,
        "based_on": action.based_on if action else None,
        "seen": action.seen if action else None,
        "comment": action.comment if action else None,
        "until": action.until_ms if action else None,
        "assignee": action.assignee if action else None,
        "level": action.level if action else None,
        "undoes": action.undoes if action else None,
        "outcome": _outcome(entry),
        "reason": decision.reason if decision else entry.trouble,
        "state": view.state.value if view else "",
        "revision": view.revision if view else 0,
        "owner": view.owner if view else None,
        "escalation_level": view.escalation_level if view else 0,
        "is_decided": int(entry.is_decided),
        "decided_at": now_us,
    }


def _outcome(entry: Entry) -> str:
    if entry.action is None:
        return "unreadable"
    if entry.decision is None:
        return "waiting"
    if entry.decision.repeated:
        return "repeated"
    return "accepted" if entry.decision.accepted else "refused"


def _keys(alert_ids: Collection[str]) -> tuple[pa.Table, str]:
    return pa.table({"alert_id": pa.array(sorted(alert_ids), pa.string())}), "alert_id String"


def _detection(row: dict[str, Any]) -> Detection:
    recorded_us, is_published = row.pop("recorded_us"), row.pop("is_published")
    at = row.pop("partition"), row.pop("offset")
    row["incident_id"] = row["incident_id"] or None
    row["product_name"] = row["product_name"] or row["product_id"]
    severity = row["severity"]
    row["severity"] = Severity(severity) if severity else severity_of(row["expected_lost_margin"])
    place = Place(Topic.ALERTS.value, "", *at) if is_published and at[1] >= 0 else None
    return Detection(**row, recorded_at_ms=recorded_us // 1000, place=place)


def _logged(row: dict[str, Any]) -> Logged:
    topic_id, arrival_ms = row.pop("topic_id"), row.pop("arrival_ms")
    at = row.pop("partition"), row.pop("offset")
    return Logged(Action(**row), Place(Topic.ALERT_ACTIONS.value, topic_id, *at), arrival_ms)
