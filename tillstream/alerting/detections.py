"""The detector's steps as the warehouse has them."""

from typing import Any

from clickhouse.client import Client
from clickhouse.queries import select
from tillstream.alerting.alert import Detection
from tillstream.alerting.severity import severity_of

# Rows are stamped before they are inserted, so one may appear a little later than a younger one.
_OVERLAP_US = 60_000_000


def since(client: Client, recorded_us: int) -> tuple[list[Detection], int]:
    """The steps recorded since about `recorded_us`, by alert and version, some of them again; and
    when the newest was recorded."""
    rows = select(
        client,
        "SELECT alert_id, version, toString(state) AS state, toString(store_id) AS store_id,"
        " product_id, risk, on_hand, expected_lost_margin, explanation,"
        " toUnixTimestamp64Milli(opened_at) AS opened_at_ms, toUnixTimestamp64Milli(at) AS at_ms,"
        " toUnixTimestamp64Micro(recorded_at) AS recorded_us"
        " FROM restock_alert_history FINAL"
        " WHERE recorded_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
        " ORDER BY alert_id, version",
        parameters={"since": max(recorded_us - _OVERLAP_US, 0)},
    ).to_pylist()
    newest = max((row["recorded_us"] for row in rows), default=recorded_us)
    return [_detection(row) for row in rows], newest


def _detection(row: dict[str, Any]) -> Detection:
    margin = row["expected_lost_margin"]
    return Detection(
        alert_id=row["alert_id"],
        version=row["version"],
        state=row["state"],
        store_id=row["store_id"],
        product_id=row["product_id"],
        product_name=row["product_id"],
        region="",
        category="",
        supplier_id="",
        supplier_name="",
        severity=severity_of(margin),
        low_confidence=False,
        incident_id=None,
        risk=row["risk"],
        on_hand=row["on_hand"],
        days_of_cover=0.0,
        empty_p50_days=0.0,
        expected_lost_margin=margin,
        explanation=row["explanation"],
        opened_at_ms=row["opened_at_ms"],
        at_ms=row["at_ms"],
        recorded_at_ms=row["recorded_us"] // 1000,
    )
