-- kind: completeness
-- critical: yes
-- says: the chain sold in the week before, so it must have sold on this day
SELECT toInt64(1) AS checked,
       toInt64((SELECT count() FROM fact_sales WHERE date_key = {day:Date}) = 0
               AND (SELECT count() FROM fact_sales
                    WHERE date_key BETWEEN {day:Date} - 7 AND {day:Date} - 1) > 0) AS failed
