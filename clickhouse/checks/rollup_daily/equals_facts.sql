-- kind: reconciliation
-- critical: yes
-- says: items whose units, revenue, cost or lines are not those of the facts
SELECT count() AS checked, toInt64(countIf(u != 0 OR r != 0 OR c != 0 OR l != 0)) AS failed
FROM
(
    SELECT store_id, product_id, sum(units) AS u, sum(revenue) AS r, sum(cost) AS c, sum(lines) AS l
    FROM
    (
        SELECT toString(store_id) AS store_id, product_id, toInt64(quantity) AS units,
               toDecimal128(revenue, 4) AS revenue, toDecimal128(cost, 4) AS cost, toInt64(1) AS lines
        FROM fact_sales
        WHERE date_key = {day:Date}
        UNION ALL
        SELECT toString(store_id), product_id, -units, -revenue, -cost, -lines
        FROM rollup_daily_staging
        WHERE date_key = {day:Date}
    )
    GROUP BY store_id, product_id
)
