"""Close the day: everything that Kafka holds of it is stored, archived, and proved."""

from datetime import date

from clickhouse.client import Client
from clickhouse.queries import select
from orchestration.day import require_over, store_days
from tillstream.audit.verify import Parts, verify, wait_until_caught_up
from tillstream.clock import Clock
from tillstream.errors import ConfigError, IntegrityError

_WAIT_S = 1800.0
_LISTED = 5


def close_day(parts: Parts, day: date, *, clock: Clock, wait_s: float = _WAIT_S) -> str:
    """Wait until the stream has stored what Kafka holds now, which is after midnight in every
    store, and compare everything. What was found, in words.

    Raises ConfigError when the day still goes on, ServiceError when the stream does not get there,
    IntegrityError when something disagrees.
    """
    require_over(day, store_days(parts.client, day), now_ms=clock.now_ms())
    wait_until_caught_up(parts, timeout_s=wait_s)
    audit = verify(parts)
    if not audit.clean:
        found = [one.detail for check in audit.checks for one in check.findings]
        more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise IntegrityError(
            f"{day} is not closed, and what was in service stays: {'; '.join(found[:_LISTED])}"
            f"{more}",
            hint="run `tillstream verify` and see docs/runbook.md; then run the night again",
        )
    records = sum(row.facts + row.duplicates + row.quarantine for row in audit.partitions)
    return f"{records:,} records verified, nothing missing, nothing twice"


def require_known(client: Client, day: date) -> None:
    """Raises ConfigError when nothing was stored by `day`, and IntegrityError when `day` lies after
    all that is: a night was due, and its day is missing."""
    span = select(
        client,
        "SELECT min(date_key) AS first, max(date_key) AS last, count() AS n FROM fact_sales",
    ).to_pylist()[0]
    if not span["n"]:
        raise ConfigError("no sale is stored yet", hint="replay or simulate some first")
    days = f"the days go from {span['first']} to {span['last']}"
    if day < span["first"]:
        raise ConfigError(f"nothing is stored of {day}: {days}", hint="choose one of them")
    if day > span["last"]:
        raise IntegrityError(
            f"nothing is stored of {day}: {days}",
            hint="do stores publish, and does the stream run? see `tillstream status`",
        )
