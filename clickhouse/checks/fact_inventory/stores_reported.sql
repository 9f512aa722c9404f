-- kind: completeness
-- critical: no
-- says: stores that moved stock on one of the seven days before, and not on this day
SELECT count() AS checked, toInt64(countIf(today = 0)) AS failed
FROM
(
    SELECT store_id, countIf(date_key = {day:Date}) AS today
    FROM fact_inventory
    WHERE date_key BETWEEN {day:Date} - 7 AND {day:Date}
    GROUP BY store_id
)
