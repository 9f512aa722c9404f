"""Close the day: everything that Kafka holds of it is stored, archived, and proved."""

from datetime import date, datetime, timedelta

from clickhouse.client import Client
from clickhouse.queries import select
from orchestration.day import require_over, store_days
from tillstream.audit.verify import Parts, verify, wait_until_caught_up
from tillstream.clock import Clock
from tillstream.errors import IntegrityError

_WAIT_S = 1800.0
_LISTED = 5
_MS = timedelta(milliseconds=1)
_CLEAN = "nothing missing, nothing twice"


def close_day(
    parts: Parts,
    day: date,
    *,
    clock: Clock,
    wait_s: float = _WAIT_S,
    trust: timedelta = timedelta(0),
) -> str:
    """Wait until the stream has stored what Kafka holds now, which is after midnight in every
    store, and compare everything, unless a night did so less than `trust` ago. What was found, in
    words.

    Raises ConfigError when the day still goes on, ServiceError when the stream does not get there,
    IntegrityError when something disagrees.
    """
    require_over(day, store_days(parts.client, day), now_ms=clock.now_ms())
    wait_until_caught_up(parts, timeout_s=wait_s)
    verified = _verified_at(parts.client)
    if verified is not None and clock.now_ms() - verified.timestamp() * 1000 < trust / _MS:
        return f"everything was verified at {verified:%H:%M:%S} UTC, not again so soon"
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
    return f"{records:,} records verified, {_CLEAN}"


def _verified_at(client: Client) -> datetime | None:
    """When a night last compared everything, whichever day it was about."""
    found = select(
        client,
        "SELECT max(at) AS at FROM night_steps"
        " WHERE step = 'close' AND state = 'done' AND endsWith(detail, {clean:String})",
        parameters={"clean": _CLEAN},
    )["at"][0].as_py()
    return found if found.year > 1970 else None
