"""How stores do: availability, sales against what was expected, slow movers, shrinkage."""

from dataclasses import dataclass
from typing import Any

from tillstream.web.people import Scope
from tillstream.web.reads.item import Series
from tillstream.web.reads.warehouse import Row, Warehouse, in_scope, utc_ms

_SLOW_COVER_DAYS = 60
_TOP = 10
# What a unit of a product earns and costs, where it is sold: the last price, else from the cost.
_PRICES = (
    "(SELECT p.product_id AS product_id, any(p.name) AS name,"
    " any(coalesce(toFloat64(p.unit_cost), s.price * (1 - p.margin), 0)) AS cost,"
    " any(coalesce(s.price, toFloat64(p.unit_cost) / nullIf(1 - p.margin, 0), 0)) AS price FROM"
    " (SELECT product_id, product_name AS name, unit_cost, margin FROM dim_product FINAL) AS p"
    " LEFT JOIN (SELECT product_id, toNullable(toFloat64(argMax(unit_price, event_time))) AS price"
    "  FROM fact_sales WHERE unit_price > 0 AND date_key >= toDate({day:String}) - 28"
    "  GROUP BY product_id) AS s ON s.product_id = p.product_id GROUP BY product_id)"
)


@dataclass(frozen=True, slots=True)
class Today:
    """Until when sales are known, and the UTC day of that, as YYYY-MM-DD."""

    day: str
    until_ms: int


def today(warehouse: Warehouse) -> Today | None:
    """The day of the newest score: in a replay, that of the replay. None before the first."""
    row = warehouse.row(
        "SELECT count() AS n, toTimeZone(max(as_of), 'UTC') AS newest FROM stockout_risk"
    )
    if not row["n"]:
        return None
    return Today(f"{row['newest']:%Y-%m-%d}", utc_ms(row["newest"]))


def by_store(warehouse: Warehouse, scope: Scope, now: Today) -> list[Row]:
    """For each store: items, empty, availability, at_risk, stake; revenue, profit and lines of the
    last 24 hours, and the revenue expected of a day by what is known of demand. The most at stake
    first. Stores lie in many time zones, so hours are counted, not dates."""
    return warehouse.rows(
        "SELECT r.store_id AS store_id, r.items AS items, r.empty AS empty,"
        " 1 - r.empty / r.items AS availability, r.at_risk AS at_risk, r.stake AS stake,"
        " coalesce(s.revenue, 0) AS revenue, coalesce(s.profit, 0) AS profit,"
        " coalesce(s.lines, 0) AS lines, r.expected AS expected"
        " FROM (SELECT toString(store_id) AS store_id, count() AS items,"
        "  countIf(on_hand <= 0) AS empty, countIf(risk >= 0.6 AND on_hand > 0) AS at_risk,"
        "  sum(toFloat64(expected_lost_margin)) AS stake, sum(daily_units * price) AS expected"
        "  FROM stockout_risk AS k FINAL"
        f"  LEFT JOIN {_PRICES} AS p ON p.product_id = k.product_id WHERE {in_scope()}"
        "  GROUP BY store_id) AS r"
        " LEFT JOIN (SELECT toString(store_id) AS store_id, sum(toFloat64(revenue)) AS revenue,"
        "  sum(toFloat64(profit)) AS profit, count() AS lines FROM fact_sales"
        "  WHERE date_key >= toDate({day:String}) - 2"
        "  AND event_time > fromUnixTimestamp64Milli({until:Int64} - 86400000, 'UTC')"
        f"  AND {in_scope()} GROUP BY store_id) AS s"
        " ON s.store_id = r.store_id ORDER BY stake DESC, store_id",
        until=now.until_ms,
        **_asked(scope, now),
    )


def hours(warehouse: Warehouse, scope: Scope, now: Today) -> Series:
    """Revenue of each hour of the last two days, beside that of the same hours one week before."""
    rows = warehouse.rows(
        "SELECT toUnixTimestamp(toStartOfHour(event_time)) AS at_s,"
        " sum(toFloat64(revenue)) AS revenue FROM fact_sales"
        f" WHERE date_key >= toDate({{day:String}}) - 9 AND {in_scope()}"
        " AND event_time <= fromUnixTimestamp64Milli({until:Int64}, 'UTC')"
        " GROUP BY at_s ORDER BY at_s",
        until=now.until_ms,
        **_asked(scope, now),
    )
    sold = {int(row["at_s"]): float(row["revenue"]) for row in rows}
    last_s = now.until_ms // 3_600_000 * 3600
    at_s = [last_s - hour * 3600 for hour in reversed(range(48))]
    before: list[float | None] = [sold.get(at - 7 * 86_400) for at in at_s]
    lines: dict[str, list[float | None]] = {"revenue": [sold.get(at, 0.0) for at in at_s]}
    if any(value is not None for value in before):
        lines["a week before"] = before
    return Series([float(at) for at in at_s], lines)


def emptied(warehouse: Warehouse, scope: Scope, now: Today) -> list[Row]:
    """The empty shelves that cost most: store_id, product_id, name, daily_units, stake."""
    return _items(
        warehouse,
        scope,
        now,
        "k.on_hand <= 0",
        columns="toFloat64(k.expected_lost_margin) AS stake",
        order="stake",
    )


def slow_movers(warehouse: Warehouse, scope: Scope, now: Today) -> list[Row]:
    """Stock for more than _SLOW_COVER_DAYS, the most money in it first: tied_up, on_hand."""
    return _items(
        warehouse,
        scope,
        now,
        f"k.on_hand > 0 AND k.days_of_cover > {_SLOW_COVER_DAYS}",
        columns="k.on_hand * p.cost AS tied_up",
        order="tied_up",
    )


def shrinkage(warehouse: Warehouse, scope: Scope, now: Today) -> Row:
    """What the books lost in the 28 days to `now`, by reports of loss and of counts below the
    books: lost_units, lost_cost; and the revenue of these days, sold."""
    return warehouse.row(
        "SELECT -sum(f.moved) AS lost_units, -sum(f.moved * p.cost) AS lost_cost,"
        " any(sales.revenue) AS sold"
        " FROM (SELECT product_id, sum(quantity_change) AS moved FROM fact_inventory"
        f"  WHERE {in_scope()} AND date_key > toDate({{day:String}}) - 28"
        "  AND (reason = 'shrinkage' OR (reason IN ('count', 'adjustment')"
        "   AND quantity_change < 0)) GROUP BY product_id) AS f"
        f" LEFT JOIN {_PRICES} AS p ON p.product_id = f.product_id"
        " CROSS JOIN (SELECT sum(toFloat64(revenue)) AS revenue FROM fact_sales"
        f"  WHERE {in_scope()} AND date_key > toDate({{day:String}}) - 28) AS sales",
        **_asked(scope, now),
    )


def _items(
    warehouse: Warehouse, scope: Scope, now: Today, condition: str, *, columns: str, order: str
) -> list[Row]:
    return warehouse.rows(
        "SELECT toString(k.store_id) AS store_id, k.product_id AS product_id,"
        " if(p.name = '', k.product_id, p.name) AS name, k.on_hand AS on_hand,"
        f" k.daily_units AS daily_units, {columns}"
        f" FROM stockout_risk AS k FINAL LEFT JOIN {_PRICES} AS p ON p.product_id = k.product_id"
        f" WHERE {condition} AND {in_scope('k.store_id')}"
        f" ORDER BY {order} DESC, product_id LIMIT {_TOP}",
        **_asked(scope, now),
    )


def _asked(scope: Scope, now: Today) -> dict[str, Any]:
    return {"every": scope.stores is None, "stores": scope.listed, "day": now.day}
