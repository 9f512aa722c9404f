-- kind: uniqueness
-- critical: yes
-- says: movements that are counted more than once
SELECT count() AS checked, toInt64(count() - uniqExact(event_key)) AS failed
FROM fact_inventory
WHERE date_key = {day:Date}
