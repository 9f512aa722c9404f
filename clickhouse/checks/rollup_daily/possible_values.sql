-- kind: validity
-- critical: yes
-- says: items with impossible hours, lost units or prices
SELECT count() AS checked,
       toInt64(countIf(empty_hours < 0 OR in_stock_hours < 0 OR empty_hours + in_stock_hours > 25
                       OR lost_units < 0 OR coalesce(price, 0) < 0 OR lines < 0)) AS failed
FROM rollup_daily_staging
WHERE date_key = {day:Date}
