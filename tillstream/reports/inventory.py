"""What an inventory analyst digs in."""

from tillstream.reports.panel import (
    ANY_STORE,
    CATEGORY,
    IN_CATEGORY,
    IN_PRODUCT,
    IN_REGION,
    PRODUCT,
    REGION,
    Dashboard,
    Panel,
    complete_until,
    matches,
)

_HERE = f"{IN_REGION} AND {matches('store', 'store_id')} AND {IN_CATEGORY} AND {IN_PRODUCT}"
_RISK = f"(SELECT * FROM bi_risk WHERE {_HERE})"
_WITH_NAME = "INNER JOIN bi_products AS p ON p.product_id = s.product_id"
_LAST_SALES = (
    "(SELECT store_id, product_id, max(window_start) AS last_sale FROM bi_velocity"
    f" WHERE window_start BETWEEN $__toTime - toIntervalDay(60) AND $__toTime AND {_HERE}"
    " GROUP BY store_id, product_id)"
)
_SINCE_SALE = (
    f"{_RISK} AS s LEFT JOIN {_LAST_SALES} AS l"
    " ON l.store_id = s.store_id AND l.product_id = s.product_id"
)

INVENTORY = Dashboard(
    "inventory",
    "Inventory analyst",
    "Where is stock wrong, and what drives the risk?",
    28,
    variables=(REGION, ANY_STORE, CATEGORY, PRODUCT),
    panels=(
        Panel(
            "Shelves",
            "stat",
            f"SELECT count() AS shelves FROM {_RISK}",
            "A shelf is a product in a store.",
            width=5,
            height=4,
        ),
        Panel(
            "At risk",
            "stat",
            f"SELECT countIf(risk >= 0.6) AS shelves FROM {_RISK}",
            "Likely to be empty before an order placed now arrives.",
            steps=((0.0, "good"), (1.0, "warn")),
            width=5,
            height=4,
        ),
        Panel(
            "Margin at stake",
            "stat",
            f"SELECT sum(expected_lost_margin) AS margin FROM {_RISK}",
            "Margin likely lost before deliveries ordered now can come.",
            unit="money",
            width=5,
            height=4,
        ),
        Panel(
            "Books corrected by counts",
            "stat",
            "SELECT sum(abs(units)) AS units FROM bi_stock_movements"
            f" WHERE $__dateFilter(date) AND reason IN ('count', 'adjustment') AND {_HERE}",
            "Units by which counts and adjustments changed the books in the range.",
            width=5,
            height=4,
        ),
        complete_until("stock movements"),
        Panel(
            "Riskiest shelves and what drives them",
            "table",
            "SELECT s.store_id AS store_id, product, risk, on_hand, daily_units, days_of_cover,"
            " lead_time_days, reorder_point, evidence_units, expected_lost_margin AS lost_margin"
            f" FROM (SELECT * FROM {_RISK} ORDER BY expected_lost_margin DESC LIMIT 25) AS s"
            f" {_WITH_NAME} ORDER BY lost_margin DESC",
            "Costliest first. Choose a product above to see its history below; `tillstream explain"
            " STORE PRODUCT` leads down to the records.",
            units={
                "store_id": "text",
                "product": "text",
                "risk": "share",
                "daily_units": "ratio",
                "days_of_cover": "days",
                "lead_time_days": "days",
                "lost_margin": "money",
            },
            width=24,
        ),
        Panel(
            "Days of cover",
            "bar",
            "SELECT ['0 to 1', '1 to 3', '3 to 7', '7 to 14', '14 to 28', 'over 28'][band] AS days,"
            " count() AS shelves FROM (SELECT 1 + (days_of_cover >= 1) + (days_of_cover >= 3)"
            " + (days_of_cover >= 7) + (days_of_cover >= 14) + (days_of_cover >= 28) AS band"
            f" FROM {_RISK} WHERE on_hand > 0) GROUP BY band ORDER BY band",
            "How long shelves with stock would last at what they are believed to sell a day.",
            width=8,
        ),
        Panel(
            "What if more is asked for",
            "bar",
            "SELECT concat('+', toString(more), ' %') AS demand,"
            " countIf(days_of_cover / (1 + more / 100) < lead_time_days) AS shelves"
            f" FROM {_RISK} ARRAY JOIN [0, 10, 25, 50, 100] AS more"
            " GROUP BY more ORDER BY more",
            "Shelves whose stock would be gone before a delivery, if all demand rose by so much."
            " On the mean: chance comes on top.",
            width=8,
        ),
        Panel(
            "Suppliers",
            "table",
            "SELECT supplier, lead_time_days, late_share FROM bi_suppliers"
            " ORDER BY late_share DESC, supplier LIMIT 50",
            "What they agreed to, and the share of orders that came late, as learned.",
            units={"supplier": "text", "lead_time_days": "days", "late_share": "share"},
            width=8,
        ),
        Panel(
            "Phantom stock: shelves that should have sold",
            "table",
            "SELECT store_id, product, on_hand, last_sale, expected, exp(-expected) AS by_chance"
            " FROM (SELECT s.store_id AS store_id, s.product_id AS product_id,"
            " s.on_hand AS on_hand, l.last_sale AS last_sale, s.daily_units"
            " * dateDiff('second', l.last_sale, $__toTime) / 86400 AS expected"
            f" FROM {_SINCE_SALE} WHERE s.on_hand > 0 AND l.last_sale > toDateTime(0)) AS s"
            f" {_WITH_NAME} WHERE expected >= 3 ORDER BY expected DESC LIMIT 25",
            "The books show stock, and nothing was sold for long: units expected since the last"
            " sale, and how likely none is by chance at a known steady rate.",
            units={
                "store_id": "text",
                "product": "text",
                "last_sale": "moment",
                "expected": "ratio",
                "by_chance": "share",
            },
        ),
        Panel(
            "Dead stock",
            "table",
            "SELECT s.store_id AS store_id, product, on_hand FROM (SELECT s.store_id AS store_id,"
            " s.product_id AS product_id, s.on_hand AS on_hand"
            f" FROM {_SINCE_SALE} WHERE s.on_hand > 0 AND l.last_sale < $__toTime"
            f" - toIntervalDay(14)) AS s {_WITH_NAME} ORDER BY on_hand DESC LIMIT 25",
            "Stock by the books, and no sale for 14 days.",
            units={"store_id": "text", "product": "text"},
        ),
        Panel(
            "Units sold by day",
            "line",
            "SELECT toDateTime(date, 'UTC') AS time, sum(units) AS units FROM bi_sales"
            f" WHERE $__dateFilter(date) AND {_HERE} GROUP BY date ORDER BY date",
            "Of what is chosen above.",
        ),
        Panel(
            "Where the books were wrong",
            "table",
            "SELECT s.store_id AS store_id, product, corrections, found, missing FROM"
            " (SELECT store_id, product_id, count() AS corrections,"
            "  sumIf(units, units > 0) AS found, -sumIf(units, units < 0) AS missing"
            "  FROM bi_stock_movements"
            f"  WHERE $__dateFilter(date) AND reason IN ('count', 'adjustment') AND units != 0"
            f"  AND {_HERE} GROUP BY store_id, product_id"
            "  ORDER BY found + missing DESC LIMIT 25) AS s"
            f" {_WITH_NAME} ORDER BY found + missing DESC",
            "Units that counts and adjustments found or missed, in the range.",
            units={"store_id": "text", "product": "text"},
        ),
    ),
)
