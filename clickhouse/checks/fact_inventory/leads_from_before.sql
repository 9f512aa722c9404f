-- kind: accuracy
-- critical: no
-- says: movements that do not lead from the quantity before them
SELECT count() AS checked,
       toInt64(countIf(sequence > 0 AND sequence = previous + 1 AND previous > 0
                       AND before + quantity_change != quantity_on_hand)) AS failed
FROM
(
    SELECT sequence, quantity_change, quantity_on_hand,
           lagInFrame(quantity_on_hand) OVER w AS before, lagInFrame(sequence) OVER w AS previous
    FROM fact_inventory
    WHERE date_key = {day:Date}
    WINDOW w AS (PARTITION BY store_id, product_id ORDER BY sequence, event_time, offset
                 ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
