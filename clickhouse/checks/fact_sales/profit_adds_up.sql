-- kind: accuracy
-- critical: yes
-- says: lines whose cost and profit do not make their revenue
SELECT count() AS checked, toInt64(countIf(cost + profit != revenue)) AS failed
FROM fact_sales
WHERE date_key = {day:Date}
