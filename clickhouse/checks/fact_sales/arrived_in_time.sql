-- kind: timeliness
-- critical: no
-- says: lines that arrived more than an hour after the sale; a replay of the past is not late
SELECT count() AS checked,
       toInt64(if(quantile(0.5)(late_s) > 86400, 0, countIf(late_s > 3600))) AS failed
FROM (SELECT toUnixTimestamp(arrival) - toUnixTimestamp(event_time) AS late_s FROM fact_sales
      WHERE date_key = {day:Date})
