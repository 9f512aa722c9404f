"""A dashboard's questions, asked once, for a report."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from clickhouse.client import Client
from clickhouse.queries import select
from tillstream.errors import ConfigError
from tillstream.reports.macros import TimeRange, expand
from tillstream.reports.panel import ALL, Dashboard, Panel

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Answered:
    """A dashboard's answers, in the order of its panels."""

    dashboard: Dashboard
    span: TimeRange
    chosen: Mapping[str, str]
    answers: tuple[tuple[Panel, pa.Table], ...]


def newest_sale_ms(client: Client) -> int | None:
    """When the last stored sale was, None when there is none."""
    rows = select(
        client,
        "SELECT count() AS n, toUnixTimestamp64Milli(max(event_time)) AS at FROM fact_sales"
        " WHERE date_key >= (SELECT max(date_key) FROM fact_sales) - 1",
    ).to_pylist()[0]
    return int(rows["at"]) if rows["n"] else None


def answer(
    client: Client, dashboard: Dashboard, span: TimeRange, chosen: Mapping[str, str]
) -> Answered:
    """Ask everything, one after another. Raises ConfigError when a variable's value is none of
    those there are, ServiceError when the warehouse fails."""
    values = _values(client, dashboard, span, chosen)
    answers = tuple(
        (panel, _moments(panel, select(client, expand(panel.sql, span, values))))
        for panel in dashboard.panels
    )
    return Answered(dashboard, span, values, answers)


def _moments(panel: Panel, rows: pa.Table) -> pa.Table:
    """The engine's Arrow has whole seconds as numbers: those that are moments become such."""
    for at, field in enumerate(rows.schema):
        is_moment = field.name == "time" or panel.unit_of(field.name) == "moment"
        if is_moment and pa.types.is_unsigned_integer(field.type):
            moments = rows[field.name].cast(pa.int64()).cast(pa.timestamp("s", tz="UTC"))
            rows = rows.set_column(at, field.name, moments)
    return rows


def _values(
    client: Client, dashboard: Dashboard, span: TimeRange, chosen: Mapping[str, str]
) -> dict[str, str]:
    """What was chosen, checked; where nothing was, everything, or the first there is."""
    values: dict[str, str] = {}
    for name in chosen:
        if name not in {variable.name for variable in dashboard.variables}:
            has = ", ".join(variable.name for variable in dashboard.variables) or "nothing"
            raise ConfigError(
                f"the report {dashboard.key!r} cannot be limited by {name}",
                hint=f"it can by: {has}",
            )
    for variable in dashboard.variables:
        if variable.name not in chosen and variable.has_all:
            values[variable.name] = ALL
            continue
        rows = select(client, expand(variable.sql, span, values))
        there = rows.column(0).to_pylist()
        wanted = chosen.get(variable.name, there[0] if there else "")
        if wanted not in there:
            some = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
            raise ConfigError(
                f"there is no {variable.name} {wanted!r}"
                if wanted
                else f"there is no {variable.name} at all",
                hint=f"one of {some}" if there else "load some with `tillstream dimensions load`",
            )
        values[variable.name] = wanted
    return values
