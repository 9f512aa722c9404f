-- kind: completeness
-- critical: no
-- says: items whose product has no category
SELECT count() AS checked,
       toInt64(countIf(product_id NOT IN (SELECT product_id FROM dim_product WHERE category != ''))) AS failed
FROM rollup_daily_staging
WHERE date_key = {day:Date}
