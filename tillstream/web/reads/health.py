"""What the warehouse and the home know of the platform's health."""

import json
from dataclasses import dataclass
from pathlib import Path

import psutil

from tillstream.watching.readings import Health
from tillstream.web.reads.warehouse import Row, Warehouse

_HOURS = 24
# The pager writes its file every second.
_PAGER_STALE_MS = 60_000
_NIGHT_TABLES = ("night_loads", "quality_scores")


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


def last_night(warehouse: Warehouse) -> Row | None:
    """The newest day that a night put in service: date_key, loaded_at, sale_lines, and the score of
    its worst table (0 to 1, None when it was not checked). None when no night has run."""
    there = warehouse.row(
        "SELECT count() AS n FROM system.tables WHERE database = currentDatabase()"
        " AND name IN {names:Array(String)}",
        names=list(_NIGHT_TABLES),
    )
    if there["n"] < len(_NIGHT_TABLES):
        return None
    found = warehouse.rows(
        "SELECT l.date_key AS date_key, toTimeZone(l.loaded_at, 'UTC') AS loaded_at,"
        " l.sale_lines AS sale_lines, q.score AS score"
        " FROM (SELECT * FROM night_loads FINAL ORDER BY date_key DESC LIMIT 1) AS l"
        " LEFT JOIN (SELECT date_key, toNullable(toFloat64(min(score))) AS score"
        "  FROM quality_scores GROUP BY date_key) AS q ON q.date_key = l.date_key"
    )
    return found[0] if found else None


def pager(home: Path, *, now_ms: int) -> Health | None:
    """What the pager's own file says; None when it never ran in this home."""
    try:
        state = json.loads((home / "run" / "pager.json").read_text(encoding="utf-8"))
        dead = sorted(name for name, one in state["channels"].items() if one["state"] == "dead")
        says, pid, at_ms = str(state["state"]), int(state["pid"]), int(state["updated_at_ms"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    if says != "running":
        return Health("pager", "bad", says)
    if not psutil.pid_exists(pid) or now_ms - at_ms > _PAGER_STALE_MS:
        return Health("pager", "bad", "it has stopped writing: start it again")
    if dead:
        return Health("pager", "bad", f"dead channels: {', '.join(dead)}")
    return Health("pager", "good", f"running, {len(state['channels'])} channels")
