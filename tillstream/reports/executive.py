"""What the head office looks at."""

from tillstream.reports.panel import (
    IN_REGION,
    REGION,
    TODAY,
    Dashboard,
    Panel,
    complete_until,
    in_region,
)


def _revenue(title: str, day: str, description: str) -> Panel:
    return Panel(
        title,
        "stat",
        f"SELECT sum(revenue) AS revenue FROM bi_sales_by_store WHERE date = {day} AND {IN_REGION}",
        description,
        unit="money",
        width=4,
        height=4,
    )


EXECUTIVE = Dashboard(
    "executive",
    "Executive",
    "How is the chain doing today, and why?",
    14,
    variables=(REGION,),
    panels=(
        _revenue(
            "Revenue today",
            TODAY,
            "What was paid on the last day shown, in each store's own time.",
        ),
        _revenue("Revenue yesterday", f"{TODAY} - 1", "The day before, all of it."),
        _revenue(
            "Same weekday last year",
            f"{TODAY} - 364",
            "364 days before: the same weekday. 0 where there was no sale then.",
        ),
        Panel(
            "Shelves with stock",
            "stat",
            "SELECT sum(with_stock) / sum(shelves) AS availability FROM bi_availability"
            f" WHERE {IN_REGION}",
            "Share of shelves with stock by their books, as of the last minute.",
            unit="share",
            steps=((0.0, "bad"), (0.9, "warn"), (0.95, "good")),
            width=4,
            height=4,
        ),
        Panel(
            "Units likely lost",
            "stat",
            "SELECT sum(r.daily_units * greatest(0, dateDiff('second',"
            " greatest(o.empty_from, $__fromTime_ms),"
            " least(ifNull(o.empty_until, $__toTime_ms), $__toTime_ms)) / 86400)) AS lost"
            " FROM bi_stockouts AS o INNER JOIN bi_risk AS r"
            " ON r.store_id = o.store_id AND r.product_id = o.product_id"
            f" WHERE o.empty_from <= $__toTime_ms AND {in_region('o.store_id')}",
            "How long shelves were empty by their books in the range, times what they are believed"
            " to sell a day.",
            width=4,
            height=4,
        ),
        complete_until(),
        Panel(
            "Revenue and profit by day",
            "line",
            "SELECT toDateTime(date, 'UTC') AS time, sum(revenue) AS revenue,"
            " sum(profit) AS profit FROM bi_sales_by_store"
            f" WHERE $__dateFilter(date) AND {IN_REGION} GROUP BY date ORDER BY date",
            "Of the days in the range; the last one may be under way.",
            unit="money",
            width=16,
        ),
        Panel(
            "Revenue by region",
            "bar",
            "SELECT region, sum(revenue) AS revenue FROM bi_sales_by_store AS s"
            " INNER JOIN bi_stores AS d ON d.store_id = s.store_id"
            f" WHERE $__dateFilter(date) AND {in_region('s.store_id')}"
            " GROUP BY region ORDER BY revenue DESC",
            "Of the days in the range.",
            unit="money",
            width=8,
        ),
        Panel(
            "Units sold, and what was expected",
            "line",
            "SELECT toDateTime(date, 'UTC') AS time, sum(sold) AS sold,"
            " sum(predicted) AS expected FROM bi_demand_outcomes"
            f" WHERE $__dateFilter(date) AND {IN_REGION} GROUP BY date ORDER BY date",
            "Expected is what the score before each day believed that its shelves sell. It knows no"
            " weekdays; forecasts by day will take its place.",
            width=16,
        ),
        Panel(
            "Revenue by category",
            "bar",
            "SELECT category, sum(revenue) AS revenue FROM"
            " (SELECT product_id, sum(revenue) AS revenue FROM bi_sales"
            f"  WHERE date = {TODAY} AND {IN_REGION} GROUP BY product_id) AS s"
            " INNER JOIN bi_products AS p ON p.product_id = s.product_id"
            " GROUP BY category ORDER BY revenue DESC LIMIT 12",
            "The twelve largest on the last day shown.",
            unit="money",
            width=8,
        ),
        Panel(
            "Top movers",
            "table",
            "SELECT product, sold, usual, sold - usual AS change, paid AS revenue FROM"
            f" (SELECT product_id, sumIf(units, date = {TODAY}) AS sold,"
            f"  sumIf(units, date < {TODAY}) / 7 AS usual, sumIf(revenue, date = {TODAY}) AS paid"
            "  FROM (SELECT date, product_id, sum(units) AS units, sum(revenue) AS revenue"
            f"   FROM bi_sales WHERE date BETWEEN {TODAY} - 7 AND {TODAY} AND {IN_REGION}"
            "   GROUP BY date, product_id)"
            "  GROUP BY product_id ORDER BY abs(sold - usual) DESC LIMIT 15) AS s"
            " INNER JOIN bi_products AS p ON p.product_id = s.product_id"
            " ORDER BY abs(change) DESC",
            "Products whose units on the last day differ most from their mean of the seven before.",
            units={"revenue": "money", "usual": "ratio", "change": "ratio", "product": "text"},
        ),
        Panel(
            "Shelves empty by region",
            "table",
            "SELECT region, sum(s.shelves - s.with_stock) AS empty, sum(s.shelves) AS shelves,"
            " empty / shelves AS share FROM bi_availability AS s"
            " INNER JOIN bi_stores AS d ON d.store_id = s.store_id"
            f" WHERE {in_region('s.store_id')} GROUP BY region ORDER BY share DESC",
            "By their books, as of the last minute.",
            units={"share": "share", "region": "text"},
        ),
    ),
)
