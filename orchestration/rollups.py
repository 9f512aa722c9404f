"""A day's rollups: made beside what is in service, then put in its place at once.

    compute(client, day)   fills the _staging tables; nothing that is served changes
    publish(client, day)   replaces the day in every rollup, then adds its week up again

Both may be repeated, and be killed anywhere: a partition is replaced whole or not at all, and what
is left over in staging is dropped by the next run. Sums are of integers and decimals, so that equal
facts make equal rows whatever order the engine reads them in. Nothing is read from another day's
rollup but for the week, so days may be made in any order.
"""

from dataclasses import dataclass
from datetime import date
from importlib import resources

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.placement import placed
from clickhouse.queries import command, select
from orchestration.day import STORE_DAYS, monday_of, store_days
from tillstream.errors import IntegrityError
from tillstream.settings import RiskSettings

ITEM_TABLES = ("rollup_hourly", "rollup_daily", "rollup_weekly")
ROLLUPS = (*ITEM_TABLES, "rollup_groups")
_HISTORY_DAYS = 28
_LONGEST_DAY_HOURS = 25

# Several blocks, so that a large day fits into memory; and the stream goes first.
_SETTINGS = {
    "min_insert_block_size_rows": 1_048_576,
    "min_insert_block_size_bytes": 268_435_456,
    "priority": 3,
}


@dataclass(frozen=True, slots=True)
class DayTotals:
    """What the facts of one day add up to."""

    sale_lines: int
    movements: int
    units: int
    revenue: str


def day_totals(client: Client, day: date) -> DayTotals:
    row = select(
        client,
        "SELECT count() AS sale_lines, sum(quantity) AS units,"
        " toString(sum(toDecimal128(revenue, 4))) AS revenue,"
        " (SELECT count() FROM fact_inventory WHERE date_key = {day:Date}) AS movements"
        " FROM fact_sales WHERE date_key = {day:Date}",
        parameters={"day": day},
    ).to_pylist()[0]
    return DayTotals(row["sale_lines"], row["movements"], row["units"], row["revenue"])


def compute(client: Client, day: date, *, risk: RiskSettings) -> int:
    """Fill the staging tables for `day`; how many items of stores have a row."""
    stores = store_days(client, day)
    discard(client, day)
    for name, parameters in (("hourly", _demand_of(client, day, stores, risk)), ("daily", {})):
        _run(client, name, {"day": day.isoformat(), **parameters}, keys=(stores, STORE_DAYS))
    for period, source, hour in (("hour", "rollup_hourly", "hour"), ("day", "rollup_daily", "0")):
        _group(client, day, period, source=f"{source}_staging", hour=hour)
    rows = select(
        client,
        "SELECT count() AS n FROM rollup_daily_staging WHERE date_key = {day:Date}",
        parameters={"day": day},
    )
    return int(rows["n"][0].as_py())


def publish(client: Client, day: date) -> None:
    """Serve what `compute` made of `day`, and its week with it.

    Raises ServiceError, and IntegrityError when the day has sales and staging has none of it.
    """
    monday = monday_of(day)
    _require_computed(client, day)
    _replace(client, "rollup_hourly", f"'{day}'")
    _replace(client, "rollup_daily", f"'{day}'")
    for period in ("hour", "day"):
        _replace(client, "rollup_groups", f"('{period}', '{day}')")
    _drop(client, "rollup_weekly_staging", f"'{monday}'")
    _run(client, "weekly", {"day": monday.isoformat()})
    _drop(client, "rollup_groups_staging", f"('week', '{monday}')")
    _group(client, monday, "week", source="rollup_weekly_staging", hour="0")
    _replace(client, "rollup_weekly", f"'{monday}'")
    _replace(client, "rollup_groups", f"('week', '{monday}')")


def _require_computed(client: Client, day: date) -> None:
    rows = select(
        client,
        "SELECT (SELECT count() FROM rollup_daily_staging WHERE date_key = {day:Date}) AS staged,"
        " (SELECT count() FROM fact_sales WHERE date_key = {day:Date}) AS lines",
        parameters={"day": day},
    ).to_pylist()[0]
    if rows["lines"] and not rows["staged"]:
        raise IntegrityError(
            f"{day} has {rows['lines']:,} sale lines, but no rollup of it is in staging",
            hint=f"nothing was replaced; run the whole night: tillstream night run --date {day}",
        )


def discard(client: Client, day: date) -> None:
    """Forget what an earlier run left in staging."""
    _drop(client, "rollup_hourly_staging", f"'{day}'")
    _drop(client, "rollup_daily_staging", f"'{day}'")
    for period in ("hour", "day"):
        _drop(client, "rollup_groups_staging", f"('{period}', '{day}')")


def _demand_of(
    client: Client, day: date, stores: pa.Table, risk: RiskSettings
) -> dict[str, object]:
    """What lost sales are estimated with: how the chain's sales spread over this day's hours, and
    for how many days before it there are sales at all."""
    hours = select(
        client,
        "SELECT intDiv(toUnixTimestamp64Milli(f.event_time) - k.starts_ms, 3600000) AS hour,"
        " toFloat64(sum(f.quantity)) AS units"
        " FROM fact_sales AS f INNER JOIN keys AS k ON f.store_id = k.store_id"
        " WHERE f.date_key = {day:Date} AND f.quantity > 0 GROUP BY hour",
        keys=(stores, STORE_DAYS),
        parameters={"day": day},
    ).to_pylist()
    units = {row["hour"]: row["units"] for row in hours}
    total = sum(units.values())
    share = [
        units.get(hour, 0.0) / total if total else 1 / 24 for hour in range(_LONGEST_DAY_HOURS)
    ]
    first = select(client, "SELECT min(date_key) AS first, count() AS n FROM fact_sales")
    began = first["first"][0].as_py() if first["n"][0].as_py() else day
    return {
        "hour_share": share,
        "known_days": float(min(max((day - began).days, 0), _HISTORY_DAYS)),
        "default_daily": risk.default_daily_units,
        "prior_days": risk.prior_weight_days,
    }


def _group(client: Client, day: date, period: str, *, source: str, hour: str) -> None:
    sql = _sql("groups").replace("{source}", source).replace("{hour_column}", hour)
    parameters = {"day": day.isoformat(), "period": period}
    command(client, sql, parameters=parameters, settings=_SETTINGS)


def _run(
    client: Client,
    name: str,
    parameters: dict[str, object],
    *,
    keys: tuple[pa.Table, str] | None = None,
) -> None:
    command(client, _sql(name), keys=keys, parameters=parameters, settings=_SETTINGS)


def _sql(name: str) -> str:
    text = resources.files("clickhouse").joinpath(f"rollups/{name}.sql").read_text("utf-8")
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))


def _replace(client: Client, table: str, partition: str) -> None:
    target, spread = placed(client, table)
    source, _ = placed(client, f"{table}_staging")
    # Of a day without any row nothing must be served: the engine refuses that unless it is told.
    command(
        client,
        f"ALTER TABLE {target}{spread} REPLACE PARTITION {partition} FROM {source}",
        settings={"allow_replace_partition_from_empty_source": 1},
    )


def _drop(client: Client, table: str, partition: str) -> None:
    target, spread = placed(client, table)
    command(client, f"ALTER TABLE {target}{spread} DROP PARTITION {partition}")
