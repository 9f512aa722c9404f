-- kind: completeness
-- critical: no
-- says: lines of products or stores that are in no dimension
SELECT count() AS checked,
       toInt64(countIf(product_id NOT IN (SELECT product_id FROM dim_product)
                       OR store_id NOT IN (SELECT store_id FROM dim_store))) AS failed
FROM fact_sales
WHERE date_key = {day:Date}
