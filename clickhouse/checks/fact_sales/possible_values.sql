-- kind: validity
-- critical: no
-- says: lines of no units, of a negative price, or sold for less than nothing
SELECT count() AS checked,
       toInt64(countIf(quantity = 0 OR unit_price < 0 OR (quantity > 0 AND revenue < 0))) AS failed
FROM fact_sales
WHERE date_key = {day:Date}
