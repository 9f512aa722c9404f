-- kind: validity
-- critical: no
-- says: movements that leave less than nothing on the shelf
SELECT count() AS checked, toInt64(countIf(quantity_on_hand < 0)) AS failed
FROM fact_inventory
WHERE date_key = {day:Date}
