"""Close the day: everything that Kafka holds of it is stored, archived, and proved."""

from datetime import UTC, date, datetime, timedelta

from clickhouse.client import Client
from clickhouse.queries import select
from orchestration.day import require_over, store_days
from tillstream.audit.verify import Parts, verify, wait_until_caught_up
from tillstream.clock import Clock
from tillstream.errors import IntegrityError

_WAIT_S = 1800.0
_LISTED = 5
# The broker's clock, the warehouse's and ours, at most.
_CLOCKS_DIFFER = timedelta(minutes=1)
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
    store, and compare everything. Not again when a night did so less than `trust` ago and nothing
    of the day has come since. What was found, in words.

    Raises ConfigError when the day still goes on, ServiceError when the stream does not get there,
    IntegrityError when something disagrees.
    """
    require_over(day, store_days(parts.client, day), now_ms=clock.now_ms())
    wait_until_caught_up(parts, timeout_s=wait_s)
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    if trust and (verified := _verified_at(parts.client, day, now=now, trust=trust)):
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


def _verified_at(client: Client, day: date, *, now: datetime, trust: timedelta) -> datetime | None:
    """When a night compared everything, if that was less than `trust` ago, none has failed since,
    and all that is stored of `day` had reached Kafka before it began."""
    newest = select(
        client,
        "SELECT maxIf(at, is_clean) AS verified, argMaxIf(seconds, at, is_clean) AS took_s,"
        " maxIf(at, state = 'failed') AS failed FROM"
        " (SELECT at, seconds, state, state = 'done' AND endsWith(detail, {clean:String})"
        "  AS is_clean FROM night_steps WHERE step = 'close')",
        parameters={"clean": _CLEAN},
    ).to_pylist()[0]
    verified, failed = newest["verified"], newest["failed"]
    if failed > verified or not timedelta(0) <= now - verified < trust:
        return None
    since = verified - timedelta(seconds=newest["took_s"]) - _CLOCKS_DIFFER
    arrived = select(
        client,
        "SELECT count() AS n FROM"
        " (SELECT arrival FROM fact_sales WHERE date_key = {day:Date} UNION ALL"
        "  SELECT arrival FROM fact_inventory WHERE date_key = {day:Date})"
        " WHERE arrival >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')",
        parameters={"day": day, "since_ms": int(since.timestamp() * 1000)},
    )["n"][0].as_py()
    return None if arrived else verified
