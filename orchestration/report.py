"""The morning report: yesterday, what went wrong, what to order, for the chain and for each store.

Everything in it is read from tables that are in service, so the same tables give the same report.
Orders are today's: they are left out when the newest score of stock is older than the day.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from clickhouse.client import Client
from clickhouse.queries import select
from orchestration.journal import open_alerts
from tillstream.errors import ConfigError
from tillstream.planning.reading import newest_score
from tillstream.planning.regions import store_plans

_TREND_DAYS = 14
_LISTED = 10
CHAIN = ""


@dataclass(slots=True)
class Morning:
    """One page. `scope` is a store, or CHAIN. `trend` is one row a day that is in service, `empty`
    and `orders` the worst and the most urgent of `order_lines`."""

    day: date
    scope: str
    name: str
    trend: list[dict[str, Any]] = field(default_factory=list)
    empty: list[dict[str, Any]] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    order_lines: int = 0
    order_cost: float = 0.0
    findings: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def yesterday(self) -> dict[str, Any]:
        return self.trend[-1]

    @property
    def week_before(self) -> dict[str, Any] | None:
        """The same weekday a week earlier, when it is in service."""
        then = self.day - timedelta(days=7)
        return next((row for row in self.trend if row["date_key"] == then), None)

    @property
    def bars(self) -> list[tuple[str, float]]:
        """(day, revenue as a share of the best day), for the plot."""
        most = max((float(row["revenue"]) for row in self.trend), default=0.0) or 1.0
        return [
            (f"{row['date_key']:%a %d}", max(float(row["revenue"]), 0.0) / most)
            for row in self.trend
        ]


def write_reports(client: Client, day: date, folder: Path) -> int:
    """`chain.html`, `chain.md`, and the same for each store, into `folder`; how many pages.

    Raises ServiceError when the warehouse does not answer; a page appears whole or not at all.
    """
    pages = mornings(client, day)
    folder.mkdir(parents=True, exist_ok=True)
    templates = Environment(
        loader=PackageLoader("orchestration"),
        undefined=StrictUndefined,
        autoescape=lambda name: bool(name and name.endswith("html.jinja")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for kind in ("html", "md"):
        template = templates.get_template(f"morning.{kind}.jinja")
        for page in pages:
            path = folder / f"{'store-' + page.scope if page.scope else 'chain'}.{kind}"
            part = path.with_name(f".{path.name}")
            part.write_text(template.render(page=page), encoding="utf-8")
            part.replace(path)
    return len(pages)


def mornings(client: Client, day: date) -> list[Morning]:
    """The chain's page, then one for each store that has a rollup of `day`."""
    trend = _by_scope(_trend(client, day))
    names = dict(
        zip(*(_columns(client, "SELECT store_id, store_name FROM dim_store FINAL")), strict=True)
    )
    scopes = [s for s, rows in sorted(trend.items()) if rows[-1]["date_key"] == day]
    pages = {
        scope: Morning(day, scope, names.get(scope, f"Store {scope}") if scope else "All stores")
        for scope in scopes
    }
    for scope, page in pages.items():
        page.trend = trend[scope]
    lost = _lost(client, day)
    orders = _orders(client, day)
    for scope, rows in ((CHAIN, lost), *_by_scope(lost).items()):
        if scope in pages:
            pages[scope].empty = rows[:_LISTED]
    for scope, rows in ((CHAIN, orders), *_by_scope(orders).items()):
        if scope in pages:
            pages[scope].orders = rows[:_LISTED]
            pages[scope].order_lines = len(rows)
            pages[scope].order_cost = sum(row["order_cost"] or 0.0 for row in rows)
    if CHAIN in pages:
        pages[CHAIN].findings = _findings(client, day)
        pages[CHAIN].alerts = open_alerts(client)
    return list(pages.values())


def _trend(client: Client, day: date) -> list[dict[str, Any]]:
    rows = select(
        client,
        "SELECT key AS scope, date_key, units, revenue, profit, lines, stockouts, empty_hours,"
        " in_stock_hours, lost_units, shrinkage_units, promotion_units FROM rollup_groups"
        " WHERE period = 'day' AND level IN ('chain', 'store')"
        " AND date_key BETWEEN {first:Date} AND {day:Date} ORDER BY date_key",
        parameters={"first": day - timedelta(days=_TREND_DAYS - 1), "day": day},
    )
    return list(rows.to_pylist())


def _lost(client: Client, day: date) -> list[dict[str, Any]]:
    """Items by what their empty shelf cost, at the price they were last sold for that day or, when
    none was, by units alone."""
    rows = select(
        client,
        "SELECT toString(r.store_id) AS scope, r.product_id AS product_id, p.product_name AS name,"
        " toFloat64(r.empty_hours) AS empty_hours, toFloat64(r.lost_units) AS lost_units,"
        " toFloat64(r.lost_units * coalesce(r.price, c.price, 0)) AS lost_revenue"
        " FROM rollup_daily AS r"
        " LEFT JOIN (SELECT product_id, product_name FROM dim_product FINAL) AS p"
        "  ON p.product_id = r.product_id"
        " LEFT JOIN (SELECT product_id, toNullable(max(price)) AS price FROM rollup_daily"
        "  WHERE date_key = {day:Date} GROUP BY product_id) AS c ON c.product_id = r.product_id"
        " WHERE r.date_key = {day:Date} AND r.lost_units > 0"
        " ORDER BY lost_revenue DESC, lost_units DESC, scope, product_id LIMIT {n:UInt32} BY scope",
        parameters={"day": day, "n": _LISTED},
    )
    return list(rows.to_pylist())


def _orders(client: Client, day: date) -> list[dict[str, Any]]:
    try:
        newest = newest_score(client)
    except ConfigError:
        return []  # nothing was scored: there is a past, and no stream
    if newest.date() < day:
        return []
    try:
        found = [row for part in store_plans(client, None) for row in part.to_pylist()]
    except ConfigError:
        return []
    found.sort(key=lambda row: (-row["expected_lost_margin"], row["store_id"], row["product_id"]))
    return [{"scope": row["store_id"], **row} for row in found if row["action"] != "blocked"]


def _findings(client: Client, day: date) -> list[dict[str, Any]]:
    rows = select(
        client,
        "SELECT toString(table_name) AS table_name, toString(check_name) AS check_name, checked,"
        " failed, says FROM quality_results FINAL WHERE date_key = {day:Date} AND NOT passed"
        " ORDER BY table_name, check_name",
        parameters={"day": day},
    )
    return list(rows.to_pylist())


def _by_scope(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["scope"]].append(row)
    return found


def _columns(client: Client, sql: str) -> list[list[Any]]:
    return [column.to_pylist() for column in select(client, sql).columns]
