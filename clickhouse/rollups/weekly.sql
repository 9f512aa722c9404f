-- The loaded days of one week, added. {day} is its Monday.
INSERT INTO rollup_weekly_staging
    (date_key, store_id, product_id, units, revenue, cost, profit, lines, stockouts, empty_hours,
     in_stock_hours, lost_units, shrinkage_units, price, promotion_units)
SELECT toDate({day:String}), store_id, product_id, sum(units) AS u, sum(revenue) AS r, sum(cost),
       sum(profit), sum(lines), sum(stockouts), sum(empty_hours), sum(in_stock_hours), sum(lost_units),
       sum(shrinkage_units),
       if(u > 0 AND r >= 0, toDecimal64(divideDecimal(r, toDecimal128(u, 0), 4), 4), NULL),
       sum(promotion_units)
FROM rollup_daily
WHERE date_key BETWEEN toDate({day:String}) AND toDate({day:String}) + 6
GROUP BY store_id, product_id
