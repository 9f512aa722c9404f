"""One product in one store: its shelf, its sales, what is coming, and what may happen next."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tillstream.demand.belief import Belief
from tillstream.demand.risk import demand_quantile
from tillstream.web.people import Scope
from tillstream.web.reads.warehouse import Row, Warehouse, in_scope, utc_ms

_DAYS = 7
_DAY_MS = 86_400_000
# A shelf of which nothing was heard for longer belongs to a replay of old days.
LIVE_WITHIN_MS = 2 * _DAY_MS
_AHEAD_DAYS = 4.0
_AHEAD_STEPS = 33
_MOST_POINTS = 2_000
_ITEM = f"store_id = {{store:String}} AND product_id = {{product:String}} AND {in_scope()}"


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of the product and its newest score; `score` is None before the first."""

    store_id: str
    product_id: str
    name: str
    category: str
    brand: str
    supplier: str
    on_hand: int
    moved_at_ms: int
    score: Row | None


@dataclass(frozen=True, slots=True)
class Series:
    """Columns for a chart: `at_s` in seconds since 1970, and one list of values a line, with None
    where a line has none."""

    at_s: list[float]
    values: dict[str, list[float | None]]


def card(warehouse: Warehouse, scope: Scope, *, store_id: str, product_id: str) -> Card | None:
    """None when nobody in `scope` ever reported such an item."""
    item = _item(scope, store_id, product_id)
    stock = warehouse.rows(
        f"SELECT on_hand, toTimeZone(updated_at, 'UTC') AS at FROM current_stock WHERE {_ITEM}",
        **item,
    )
    if not stock:
        return None
    products = warehouse.rows(
        "SELECT p.product_name AS name, toString(p.category) AS category,"
        " toString(p.brand) AS brand, s.supplier_name AS supplier"
        " FROM (SELECT * FROM dim_product FINAL WHERE product_id = {product:String}) AS p"
        " LEFT JOIN (SELECT supplier_id, supplier_name FROM dim_supplier FINAL) AS s"
        " ON s.supplier_id = p.supplier_id",
        product=product_id,
    )
    about = (
        products[0] if products else dict.fromkeys(("name", "category", "brand", "supplier"), "")
    )
    scores = warehouse.rows(
        "SELECT toTimeZone(as_of, 'UTC') AS as_of, risk, on_hand, days_of_cover, empty_p10_days,"
        " empty_p50_days, empty_p90_days, daily_units, belief_a, belief_b, dispersion,"
        " lead_time_days, reorder_point, safety_stock, expected_lost_margin"
        f" FROM stockout_risk FINAL WHERE {_ITEM}",
        **item,
    )
    return Card(
        store_id=store_id,
        product_id=product_id,
        name=about["name"] or product_id,
        category=about["category"] or "",
        brand=about["brand"] or "",
        supplier=about["supplier"] or "",
        on_hand=stock[0]["on_hand"],
        moved_at_ms=utc_ms(stock[0]["at"]),
        score=scores[0] if scores else None,
    )


def stock_chart(warehouse: Warehouse, scope: Scope, shelf: Card, *, now_ms: int) -> Series:
    """Reported stock of the last days, deliveries as dots on it, and where it is likely to go: the
    10, 50 and 90 % quantiles of what is left when nothing comes."""
    rows = warehouse.rows(
        "SELECT toTimeZone(event_time, 'UTC') AS at, quantity_on_hand AS on_hand,"
        " toString(reason) AS reason FROM fact_inventory"
        f" WHERE {_ITEM} AND event_time > fromUnixTimestamp64Milli({{since:Int64}}, 'UTC')"
        f" ORDER BY sequence DESC, event_time DESC LIMIT {_MOST_POINTS}",
        since=now_ms - _DAYS * _DAY_MS,
        **_item(scope, shelf.store_id, shelf.product_id),
    )
    rows = sorted(rows, key=lambda row: utc_ms(row["at"]))
    at_s = [utc_ms(row["at"]) / 1000 for row in rows]
    stock: list[float | None] = [row["on_hand"] for row in rows]
    came: list[float | None] = [
        row["on_hand"] if row["reason"] in ("delivery", "transfer_in") else None for row in rows
    ]
    begin_s = max(now_ms / 1000, at_s[-1] if at_s else 0.0)
    at_s.append(begin_s)
    stock.append(shelf.on_hand)
    came.append(None)
    bands = _ahead(shelf)
    steps_s = [begin_s + day * 86_400 for day in np.linspace(0, _AHEAD_DAYS, _AHEAD_STEPS).tolist()]
    known = len(at_s) - 1
    return Series(
        at_s=[*at_s, *steps_s[1:]],
        values={
            "on hand": [*stock, *[None] * (len(steps_s) - 1)],
            "delivered": [*came, *[None] * (len(steps_s) - 1)],
            **{name: [*[None] * known, *line] for name, line in bands.items()},
        },
    )


def _ahead(shelf: Card) -> dict[str, list[float | None]]:
    """What is left after 0 to _AHEAD_DAYS demand days, at three chances."""
    if shelf.score is None:
        nothing: list[float | None] = [None] * _AHEAD_STEPS
        return {"likely low": nothing, "likely high": nothing, "likely": nothing}
    days = np.linspace(0, _AHEAD_DAYS, _AHEAD_STEPS)
    belief = Belief(
        a=np.full(_AHEAD_STEPS, shelf.score["belief_a"]),
        b=np.full(_AHEAD_STEPS, shelf.score["belief_b"]),
        dispersion=np.full(_AHEAD_STEPS, shelf.score["dispersion"]),
    )
    lines: dict[str, list[float | None]] = {}
    # The middle comes last, so that it is drawn over the band between the others.
    for name, chance in (("likely low", 0.9), ("likely high", 0.1), ("likely", 0.5)):
        sold = demand_quantile(belief, np.maximum(days, 1e-6), chance)
        lines[name] = np.maximum(max(shelf.on_hand, 0) - sold, 0).astype(float).tolist()
    return lines


def velocity_chart(warehouse: Warehouse, scope: Scope, shelf: Card, *, now_ms: int) -> Series:
    """Units sold in each five minutes of the last day in which there were sales."""
    item = _item(scope, shelf.store_id, shelf.product_id)
    rows = warehouse.rows(
        "SELECT toUnixTimestamp(window_start) AS at_s, sum(units) AS units FROM velocity_5m_sums"
        f" WHERE {_ITEM} AND window_start > toDateTime({{since:Int64}}, 'UTC')"
        f" GROUP BY window_start ORDER BY window_start LIMIT {_MOST_POINTS}",
        since=(now_ms - _DAYS * _DAY_MS) // 1000,
        **item,
    )
    return Series(
        at_s=[float(row["at_s"]) for row in rows],
        values={"units in 5 minutes": [float(row["units"]) for row in rows]},
    )


def deliveries(warehouse: Warehouse, scope: Scope, shelf: Card, *, now_ms: int) -> list[Row]:
    """What came and what is ordered, newest first: `units`, `at_ms`, `state` (came, due, late)."""
    item: dict[str, Any] = _item(scope, shelf.store_id, shelf.product_id)
    came = warehouse.rows(
        "SELECT quantity_change AS units, toTimeZone(event_time, 'UTC') AS at, 'came' AS state"
        f" FROM fact_inventory WHERE {_ITEM} AND reason IN ('delivery', 'transfer_in')"
        " ORDER BY event_time DESC LIMIT 10",
        **item,
    )
    ordered = warehouse.rows(
        "SELECT units, toTimeZone(expected_at, 'UTC') AS at, 'due' AS state"
        f" FROM purchase_orders FINAL WHERE {_ITEM}"
        " AND expected_at > fromUnixTimestamp64Milli({now:Int64}, 'UTC')"
        " ORDER BY expected_at DESC LIMIT 10",
        now=now_ms,
        **item,
    )
    return [
        {"units": row["units"], "at_ms": utc_ms(row["at"]), "state": row["state"]}
        for row in [*ordered, *came]
    ]


def past_alerts(warehouse: Warehouse, scope: Scope, shelf: Card) -> list[Row]:
    """The item's alerts, newest first: alert_id, opened_at, ended (or None), steps, worst risk."""
    return warehouse.rows(
        "SELECT alert_id, toTimeZone(min(opened_at), 'UTC') AS opened_at,"
        " toTimeZone(maxIf(at, state = 'resolved'), 'UTC') AS ended_at,"
        " countIf(state = 'resolved') > 0 AS ended, count() AS steps, max(risk) AS worst_risk,"
        " argMax(explanation, version) AS explanation"
        f" FROM restock_alert_history FINAL WHERE {_ITEM}"
        " GROUP BY alert_id ORDER BY opened_at DESC LIMIT 20",
        **_item(scope, shelf.store_id, shelf.product_id),
    )


def _item(scope: Scope, store_id: str, product_id: str) -> dict[str, Any]:
    return {
        "store": store_id,
        "product": product_id,
        "every": scope.stores is None,
        "stores": scope.listed,
    }
