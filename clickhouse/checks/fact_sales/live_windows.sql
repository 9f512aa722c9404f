-- kind: reconciliation
-- critical: yes
-- says: items whose live 5-minute windows do not add up to their lines
SELECT count() AS checked, toInt64(countIf(u != 0 OR r != 0 OR l != 0)) AS failed
FROM
(
    SELECT store_id, product_id, sum(units) AS u, sum(revenue) AS r, sum(lines) AS l
    FROM
    (
        SELECT toString(store_id) AS store_id, product_id, toInt64(quantity) AS units,
               toDecimal128(revenue, 4) AS revenue, toInt64(1) AS lines
        FROM fact_sales
        WHERE date_key = {day:Date}
        UNION ALL
        SELECT toString(v.store_id), v.product_id, -v.units, -v.revenue, -v.lines
        FROM velocity_5m_sums AS v INNER JOIN keys AS k ON v.store_id = k.store_id
        WHERE v.window_start >= toDateTime({day:Date}) - INTERVAL 1 DAY
          AND v.window_start < toDateTime({day:Date}) + INTERVAL 2 DAY
          AND toUnixTimestamp(v.window_start) * 1000 >= k.starts_ms
          AND toUnixTimestamp(v.window_start) * 1000 < k.ends_ms
    )
    GROUP BY store_id, product_id
)
