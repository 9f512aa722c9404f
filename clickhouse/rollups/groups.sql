-- One partition of a rollup by store, category, region, and the whole chain. `source` is the rollup
-- and `hour_column` its hour, or 0.
INSERT INTO rollup_groups_staging
    (period, date_key, hour, level, key, units, revenue, cost, profit, lines, stockouts, empty_hours,
     in_stock_hours, lost_units, shrinkage_units, price, promotion_units)
SELECT {period:String}, toDate({day:String}), at, g.1 AS level, g.2 AS key,
       sum(units) AS u, sum(revenue) AS r, sum(cost), sum(profit), sum(lines), sum(stockouts),
       sum(empty_hours), sum(in_stock_hours), sum(lost_units), sum(shrinkage_units),
       if(u > 0 AND r >= 0, toDecimal64(divideDecimal(r, toDecimal128(u, 0), 4), 4), NULL),
       sum(promotion_units)
FROM
(
    -- First by store and category: what is then counted under each level is thousands of times less.
    SELECT {hour_column} AS at, r.store_id AS store_id, p.category AS category,
           sum(units) AS units, sum(revenue) AS revenue, sum(cost) AS cost, sum(profit) AS profit,
           sum(lines) AS lines, sum(stockouts) AS stockouts, sum(empty_hours) AS empty_hours,
           sum(in_stock_hours) AS in_stock_hours, sum(lost_units) AS lost_units,
           sum(shrinkage_units) AS shrinkage_units, sum(promotion_units) AS promotion_units
    FROM {source} AS r
    LEFT JOIN (SELECT product_id, category FROM dim_product FINAL) AS p ON p.product_id = r.product_id
    WHERE r.date_key = toDate({day:String})
    GROUP BY at, store_id, category
) AS s
LEFT JOIN (SELECT store_id, region FROM dim_store FINAL) AS d ON d.store_id = s.store_id
ARRAY JOIN [('store', toString(s.store_id)), ('category', toString(s.category)),
            ('region', toString(d.region)), ('chain', '')] AS g
GROUP BY at, level, key
