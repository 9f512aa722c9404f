-- kind: uniqueness
-- critical: yes
-- says: events that are counted more than once
SELECT count() AS checked, toInt64(count() - uniqExact(event_key)) AS failed
FROM fact_sales
WHERE date_key = {day:Date}
