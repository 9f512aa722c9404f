"""What the warehouse and the home know of the platform's health."""

import json
from dataclasses import dataclass
from pathlib import Path

from tillstream.web.reads.warehouse import Row, Warehouse

_HOURS = 24


@dataclass(frozen=True, slots=True)
class Verdict:
    """The last `tillstream verify`: when, and what it found."""

    at_ms: int
    clean: bool
    words: str


def quarantined(warehouse: Warehouse) -> list[Row]:
    """By topic and reason, over the last day and ever: topic, reason, lately, ever, last_at."""
    return warehouse.rows(
        "SELECT toString(topic) AS topic, toString(reason) AS reason,"
        f" countIf(arrival > now() - INTERVAL {_HOURS} HOUR) AS lately, count() AS ever,"
        " toTimeZone(max(arrival), 'UTC') AS last_at FROM quarantine"
        " GROUP BY topic, reason ORDER BY lately DESC, ever DESC LIMIT 20"
    )


def counted(warehouse: Warehouse) -> Row:
    """How many rows are stored so far, of each kind."""
    return warehouse.row(
        "SELECT (SELECT count() FROM fact_sales) AS sales,"
        " (SELECT count() FROM fact_inventory) AS movements,"
        " (SELECT count() FROM duplicates) AS duplicates,"
        " (SELECT count() FROM anomalies FINAL) AS anomalies,"
        " (SELECT count() FROM stockout_risk FINAL) AS scored"
    )


def last_verdict(home: Path) -> Verdict | None:
    """None when it was never run here, or what it wrote cannot be read."""
    try:
        found = json.loads((home / "run" / "verify.json").read_text(encoding="utf-8"))
        return Verdict(int(found["at_ms"]), bool(found["clean"]), str(found["words"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
