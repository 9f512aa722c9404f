-- The hours of one day, added. `keys` holds each store's day, which has 23 hours in spring.
INSERT INTO rollup_daily_staging
    (date_key, store_id, product_id, units, revenue, cost, profit, lines, stockouts, empty_hours,
     in_stock_hours, lost_units, shrinkage_units, price, promotion_units)
SELECT toDate({day:String}), h.store_id, h.product_id, sum(h.units) AS u, sum(h.revenue) AS r, sum(h.cost),
       sum(h.profit), sum(h.lines), sum(h.stockouts), sum(h.empty_hours) AS e,
       toDecimal64(any(k.ends_ms - k.starts_ms) / 3600000, 4) - e, sum(h.lost_units),
       sum(h.shrinkage_units),
       if(u > 0 AND r >= 0, toDecimal64(divideDecimal(r, toDecimal128(u, 0), 4), 4), NULL),
       sum(h.promotion_units)
FROM rollup_hourly_staging AS h INNER JOIN keys AS k ON h.store_id = k.store_id
WHERE h.date_key = toDate({day:String})
GROUP BY h.store_id, h.product_id
