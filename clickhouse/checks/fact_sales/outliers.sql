-- kind: accuracy
-- critical: no
-- says: lines far from what the product usually sells, amounts to, or costs
SELECT count() AS checked,
       toInt64(countIf((topic_id, partition, offset) IN
           (SELECT topic_id, partition, offset FROM anomalies
            WHERE event_time >= toDateTime({day:Date}) - INTERVAL 1 DAY
              AND event_time < toDateTime({day:Date}) + INTERVAL 2 DAY))) AS failed
FROM fact_sales
WHERE date_key = {day:Date}
