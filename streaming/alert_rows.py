"""Steps of alerts as rows of their tables and as events of their topic."""

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from producers.publisher import Delivery
from streaming.alerts import Reading, Transition
from streaming.schemas import MONEY
from tillstream.alerting.alert import Severity
from tillstream.alerting.severity import severity_of

_MILLIS = pa.timestamp("ms", tz="UTC")
_MICROS = pa.timestamp("us", tz="UTC")
# Columns that a step takes from its reading as they are.
_OF_READING: dict[str, pa.DataType] = {
    "store_id": pa.string(),
    "product_id": pa.string(),
    "product_name": pa.string(),
    "region": pa.string(),
    "category": pa.string(),
    "supplier_id": pa.string(),
    "supplier_name": pa.string(),
    "risk": pa.float64(),
    "on_hand": pa.int32(),
    "daily_units": pa.float64(),
    "lead_time_days": pa.float64(),
    "days_of_cover": pa.float64(),
    "empty_p50_days": pa.float64(),
    "expected_lost_margin": MONEY,
    "low_confidence": pa.bool_(),
}


def alert_event(step: Transition) -> dict[str, Any]:
    return {
        "alert_id": step.alert_id,
        "version": step.version,
        "store_id": step.reading.store_id,
        "product_id": step.reading.product_id,
        "state": step.state,
        "risk": step.reading.risk,
        "on_hand": step.reading.on_hand,
        "explanation": step.explanation,
        "timestamp": step.reading.at_ms,
    }


def history_rows(steps: Sequence[Transition]) -> pa.Table:
    """Rows of restock_alert_history, recorded now."""
    readings = [step.reading for step in steps]
    now_us = time.time_ns() // 1000
    return pa.table(
        {
            "alert_id": [step.alert_id for step in steps],
            "version": pa.array([step.version for step in steps], pa.int32()),
            "state": [step.state for step in steps],
            "severity": [step.severity.value for step in steps],
            "incident_id": [step.incident_id for step in steps],
            "explanation": [step.explanation for step in steps],
            "opened_at": pa.array([step.opened_at_ms for step in steps], _MILLIS),
            "at": pa.array([reading.at_ms for reading in readings], _MILLIS),
            "recorded_at": pa.array([now_us] * len(steps), _MICROS),
            **{
                name: pa.array([getattr(reading, name) for reading in readings], type_)
                for name, type_ in _OF_READING.items()
            },
        }
    )


def published_rows(places: Mapping[tuple[str, int], Delivery]) -> pa.Table:
    """Rows of restock_alerts_published: where each step is in the topic."""
    now_ms = time.time_ns() // 1_000_000
    return pa.table(
        {
            "alert_id": [alert_id for alert_id, _ in places],
            "version": pa.array([version for _, version in places], pa.int32()),
            "published_at": pa.array([now_ms] * len(places), _MILLIS),
            "partition": pa.array([place.partition for place in places.values()], pa.int32()),
            "offset": pa.array([place.offset for place in places.values()], pa.int64()),
        }
    )


def transition_of(row: Mapping[str, Any]) -> Transition:
    """A step as the warehouse has it."""
    margin = Decimal(row["expected_lost_margin"])
    fields = {name: row[name] for name in _OF_READING} | {"expected_lost_margin": margin}
    return Transition(
        row["alert_id"],
        row["version"],
        row["state"],
        row["opened_at_ms"],
        row["explanation"],
        Reading(**fields, at_ms=row["at_ms"]),
        # Steps from before there were severities have none.
        Severity(row["severity"]) if row["severity"] else severity_of(margin),
        row["incident_id"],
    )
