"""What a store manager does now."""

from tillstream.reports.panel import (
    IN_STORE,
    STORE,
    TODAY,
    Dashboard,
    Panel,
    complete_until,
    value,
)

_OPEN = f"FROM bi_alerts WHERE state != 'resolved' AND {IN_STORE}"
_DUE = (
    f"FROM bi_orders WHERE {IN_STORE}"
    " AND expected_at BETWEEN $__toTime_ms AND $__toTime_ms + toIntervalHour(48)"
)
_WITH_NAME = "INNER JOIN bi_products AS p ON p.product_id = s.product_id"

STORE_MANAGER = Dashboard(
    "store",
    "Store manager",
    "What must I do now?",
    1,
    variables=(STORE,),
    panels=(
        Panel(
            "Open alerts",
            "stat",
            f"SELECT count() AS alerts {_OPEN}",
            "Restock alerts that are not resolved.",
            steps=((0.0, "good"), (1.0, "warn"), (20.0, "bad")),
            width=5,
            height=4,
        ),
        Panel(
            "Shelves about to empty",
            "stat",
            "SELECT count() AS shelves FROM bi_risk"
            f" WHERE risk >= 0.6 AND on_hand > 0 AND {IN_STORE}",
            "Not empty yet, and likely to be before an order placed now arrives.",
            steps=((0.0, "good"), (1.0, "warn")),
            width=5,
            height=4,
        ),
        Panel(
            "Deliveries due in 48 hours",
            "stat",
            f"SELECT count() AS deliveries {_DUE}",
            "Orders whose promised time lies in the next 48 hours.",
            width=5,
            height=4,
        ),
        Panel(
            "Revenue today",
            "stat",
            "SELECT sum(revenue) AS revenue FROM bi_sales_by_store"
            f" WHERE date = {TODAY} AND {IN_STORE}",
            "What was paid on the last day shown, in the store's own time.",
            unit="money",
            width=5,
            height=4,
        ),
        complete_until("stock movements"),
        Panel(
            "Alerts, costliest first",
            "table",
            "SELECT product, on_hand, risk, expected_lost_margin AS lost_margin, explanation,"
            f" opened_at FROM (SELECT * {_OPEN}) AS s {_WITH_NAME}"
            " ORDER BY lost_margin DESC LIMIT 30",
            "Why each one is open, in words.",
            units={
                "product": "text",
                "risk": "share",
                "lost_margin": "money",
                "explanation": "text",
                "opened_at": "moment",
            },
            width=24,
        ),
        Panel(
            "Order today",
            "table",
            "SELECT product, s.on_hand AS on_hand, on_order, s.reorder_point AS reorder_point,"
            " s.reorder_point - s.on_hand - on_order + 1 AS order_at_least, s.risk AS risk"
            f" FROM (SELECT * FROM bi_risk WHERE {IN_STORE}) AS s LEFT JOIN"
            " (SELECT product_id, sum(units) AS on_order FROM bi_orders"
            f"  WHERE {IN_STORE} AND expected_at >= $__toTime_ms GROUP BY product_id) AS o"
            f" ON o.product_id = s.product_id {_WITH_NAME}"
            " WHERE on_hand + on_order <= reorder_point ORDER BY risk DESC, order_at_least DESC"
            " LIMIT 30",
            "Stock and open orders together are at or below the reorder point. `tillstream plan`"
            " rounds to packs, looks for a transfer first and gives the reason.",
            units={"product": "text", "risk": "share"},
        ),
        Panel(
            "Deliveries due",
            "table",
            f"SELECT expected_at, product, units FROM (SELECT * {_DUE}) AS s {_WITH_NAME}"
            " ORDER BY expected_at, product LIMIT 30",
            "By the time that was promised.",
            units={"expected_at": "moment", "product": "text"},
        ),
        Panel(
            "Units sold, in five minutes",
            "line",
            "SELECT window_start AS time, sum(units) AS units FROM bi_velocity"
            f" WHERE $__timeFilter(window_start) AND {IN_STORE}"
            " GROUP BY window_start ORDER BY time WITH FILL STEP toIntervalMinute(5)",
            "Live; 0 where nothing was sold.",
            width=16,
        ),
        Panel(
            "Shrinkage by category",
            "bar",
            "SELECT category, sum(lost) AS units FROM"
            " (SELECT product_id, -sum(units) AS lost FROM bi_stock_movements"
            f"  WHERE date BETWEEN {TODAY} - 6 AND {TODAY} AND {IN_STORE} AND reason = 'shrinkage'"
            f"  GROUP BY product_id) AS s {_WITH_NAME}"
            " GROUP BY category ORDER BY units DESC LIMIT 12",
            "Units written off in the last seven days.",
            width=8,
        ),
        Panel(
            "Price changes",
            "table",
            "SELECT effective_from, product, old_price, new_price, reason FROM"
            f" (SELECT * FROM bi_price_changes WHERE store_id = {value('store')}"
            "  AND effective_from BETWEEN $__toTime_ms - toIntervalDay(7) AND $__toTime_ms"
            "   + toIntervalDay(2)) AS s"
            f" {_WITH_NAME} ORDER BY effective_from DESC LIMIT 30",
            "Of the last seven days and the next two.",
            units={
                "effective_from": "moment",
                "product": "text",
                "old_price": "money",
                "new_price": "money",
                "reason": "text",
            },
            width=24,
        ),
    ),
)
