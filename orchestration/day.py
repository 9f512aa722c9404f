"""Which day a night is about. Nothing else in the nights does arithmetic with dates and zones.

A night is about one date of the stores' own calendars. It runs at 08:00 UTC, when that date has
ended everywhere from New Zealand to California: the day of a run is the date on which its data
interval begins, so the run of 08:00 on the 21st is about the 20th.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import select
from tillstream.clock import zone_of
from tillstream.errors import ConfigError, IntegrityError

# When the nights run, and why not earlier: midnight in Los Angeles is 08:00 UTC in winter.
CRON = "0 8 * * *"

STORE_DAYS = "store_id String, starts_ms Int64, ends_ms Int64"
_STORE_DAYS_SCHEMA = pa.schema(
    [("store_id", pa.string()), ("starts_ms", pa.int64()), ("ends_ms", pa.int64())]
)


def day_of_run(interval_start: datetime | None, asked: Mapping[str, object] | None = None) -> date:
    """The day of a scheduled run, or the one that somebody asked for as {"date": "2026-03-10"}.

    Raises ConfigError when neither says it.
    """
    if asked and asked.get("date"):
        return parse_day(str(asked["date"]))
    if interval_start is None:
        raise ConfigError(
            "this run has no data interval, so no day",
            hint='trigger it with a configuration like {"date": "2026-03-10"}',
        )
    return interval_start.astimezone(UTC).date()


def parse_day(text: str, *, option: str = "--date") -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(
            f"{option} {text!r} is not a date", hint="write it like 2026-03-10"
        ) from exc


def days_between(first: date, last: date) -> list[date]:
    """Every day from `first` to `last`, both included. Raises ConfigError when there is none."""
    if last < first:
        raise ConfigError(f"--from {first} lies after --to {last}")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def monday_of(day: date) -> date:
    """The first day of its week; a weekly rollup goes by this name."""
    return day - timedelta(days=day.weekday())


def day_bounds_ms(day: date, zone: str) -> tuple[int, int]:
    """The first moment of `day` in a time zone, and that of the next day. A zone that nobody has
    heard of counts as UTC, as for the stream."""
    place = zone_of(zone)
    bounds = (datetime.combine(d, time.min, place) for d in (day, day + timedelta(days=1)))
    first, after = (int(moment.timestamp()) * 1000 for moment in bounds)
    return first, after


def store_days(client: Client, day: date) -> pa.Table:
    """(store_id, starts_ms, ends_ms): when `day` began and ended in each store that is known, or
    has reported something on it."""
    rows = select(
        client,
        "SELECT store_id, max(zone) AS zone FROM ("
        " SELECT toString(store_id) AS store_id, toString(time_zone) AS zone FROM dim_store FINAL"
        " UNION ALL SELECT DISTINCT toString(store_id), '' FROM fact_sales"
        "  WHERE date_key = {day:Date}"
        " UNION ALL SELECT DISTINCT toString(store_id), '' FROM fact_inventory"
        "  WHERE date_key = {day:Date})"
        " GROUP BY store_id ORDER BY store_id",
        parameters={"day": day},
    )
    zones = rows["zone"].to_pylist()
    bounds = {zone: day_bounds_ms(day, zone) for zone in set(zones)}
    return pa.table(
        {
            "store_id": rows["store_id"].cast(pa.string()),
            "starts_ms": pa.array([bounds[zone][0] for zone in zones], pa.int64()),
            "ends_ms": pa.array([bounds[zone][1] for zone in zones], pa.int64()),
        },
        schema=_STORE_DAYS_SCHEMA,
    )


def require_over(day: date, stores: pa.Table, *, now_ms: int) -> None:
    """Raises ConfigError when `day` still goes on in one of `stores`."""
    ends_ms = max(stores["ends_ms"].to_pylist(), default=day_bounds_ms(day, "UTC")[1])
    if now_ms < ends_ms:
        until = datetime.fromtimestamp(ends_ms / 1000, tz=UTC)
        raise ConfigError(
            f"{day} is not over: its last store closes the day at {until:%Y-%m-%d %H:%M} UTC",
            hint="ask for an earlier day, or wait until then",
        )


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
