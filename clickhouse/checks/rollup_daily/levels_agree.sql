-- kind: accuracy
-- critical: yes
-- says: levels (store, category, region, chain) and hours that add up to other units or revenue
SELECT toInt64(6) AS checked,
       toInt64(countIf(units != total_units OR revenue != total_revenue) + 6 - count()) AS failed
FROM
(
    SELECT concat(period, ' ', level) AS which, sum(units) AS units, sum(revenue) AS revenue
    FROM rollup_groups_staging
    WHERE date_key = {day:Date} AND (period = 'day' OR (period = 'hour' AND level = 'chain'))
    GROUP BY which
    UNION ALL
    SELECT 'hourly', sum(units), sum(revenue) FROM rollup_hourly_staging WHERE date_key = {day:Date}
) AS l
CROSS JOIN
(
    SELECT sum(units) AS total_units, sum(revenue) AS total_revenue, count() AS rows
    FROM rollup_daily_staging WHERE date_key = {day:Date}
) AS t
WHERE t.rows > 0
HAVING count() > 0
UNION ALL
SELECT toInt64(0), toInt64(0)
FROM (SELECT count() AS rows FROM rollup_daily_staging WHERE date_key = {day:Date})
WHERE rows = 0
