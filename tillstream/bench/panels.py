"""What people ask of the tables themselves: ten questions of a head office, a store manager, an
analyst. Those of the dashboards are in tillstream/reports/load.py.

`{store}` and `{product}` are filled in for each user; times are UTC.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel and the query behind it."""

    name: str
    sql: str


PANELS: tuple[Panel, ...] = (
    Panel(
        "chain: revenue by hour today",
        "SELECT toStartOfHour(event_time) AS hour, sum(revenue) AS revenue, sum(profit) AS profit"
        " FROM fact_sales WHERE date_key = today() GROUP BY hour ORDER BY hour",
    ),
    Panel(
        "chain: revenue by day, 30 days",
        "SELECT date_key, sum(revenue) AS revenue, sum(quantity) AS units FROM fact_sales"
        " WHERE date_key > today() - 30 GROUP BY date_key ORDER BY date_key",
    ),
    Panel(
        "chain: top products today",
        "SELECT p.product_name, s.revenue, s.units FROM (SELECT product_id,"
        " sum(revenue) AS revenue, sum(quantity) AS units FROM fact_sales"
        " WHERE date_key = today() GROUP BY product_id ORDER BY revenue DESC LIMIT 20) AS s"
        " LEFT JOIN dim_product AS p USING product_id ORDER BY revenue DESC",
    ),
    Panel(
        "chain: revenue by region, 7 days",
        "SELECT d.region, sum(f.revenue) AS revenue FROM (SELECT store_key, sum(revenue) AS revenue"
        " FROM fact_sales WHERE date_key > today() - 7 GROUP BY store_key) AS f"
        " INNER JOIN dim_store AS d USING store_key GROUP BY d.region ORDER BY revenue DESC",
    ),
    Panel(
        "store: revenue by hour today",
        "SELECT toStartOfHour(event_time) AS hour, sum(revenue) AS revenue FROM fact_sales"
        " WHERE date_key = today() AND store_key = xxHash64('{store}') GROUP BY hour ORDER BY hour",
    ),
    Panel(
        "store: what sells now",
        "SELECT product_id, sum(units) AS units, sum(revenue) AS revenue FROM velocity_5m_sums"
        " WHERE store_id = '{store}' AND window_start > now() - 7200"
        " GROUP BY product_id ORDER BY units DESC LIMIT 25",
    ),
    Panel(
        "store: shelves at risk",
        "SELECT product_id, risk, on_hand, days_of_cover, reorder_point FROM stockout_risk FINAL"
        " WHERE store_id = '{store}' ORDER BY risk DESC LIMIT 50",
    ),
    Panel(
        "store: open alerts",
        "SELECT product_id, state, risk, on_hand, explanation, opened_at FROM restock_alerts"
        " WHERE store_id = '{store}' AND state != 'resolved' ORDER BY opened_at DESC LIMIT 50",
    ),
    Panel(
        "analyst: costliest risks of the chain",
        "SELECT store_id, product_id, risk, on_hand, expected_lost_margin FROM stockout_risk FINAL"
        " WHERE risk > 0.6 ORDER BY expected_lost_margin DESC LIMIT 100",
    ),
    Panel(
        "analyst: one product by day, 14 days",
        "SELECT date_key, sum(quantity) AS units, uniq(store_key) AS stores FROM fact_sales"
        " WHERE date_key > today() - 14 AND product_key = xxHash64('{product}')"
        " GROUP BY date_key ORDER BY date_key",
    ),
)
