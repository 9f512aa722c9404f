-- One day by hour, store and product: what was sold, what was moved, and when shelves were empty.
--
-- `keys` holds each store's day: store_id, starts_ms, ends_ms. A shelf is empty from a turn to empty
-- until the next turn; before its first turn it counts as filled. What an empty shelf would have
-- sold is its daily rate times the share of the chain's sales that this hour had. The rate is that of
-- the 28 days before, sales per day on the shelf, drawn to the prior as by that many days.
INSERT INTO rollup_hourly_staging
    (date_key, hour, hour_start, store_id, product_id, units, revenue, cost, profit, lines, stockouts,
     empty_hours, in_stock_hours, lost_units, shrinkage_units, price, promotion_units)
WITH
    toDate({day:String}) AS day,
    28 AS history_days,
    86400000 AS day_ms,
    3600000 AS hour_ms,
    turned AS
    (
        SELECT store_id, product_id, any(starts_ms) AS begins_ms, any(ends_ms) AS closes_ms,
               any(starts_ms) - history_days * day_ms AS from_ms,
               argMaxIf(is_empty, (at, sequence), at < starts_ms - history_days * day_ms) AS before,
               arraySort(groupArrayIf((at, sequence, is_empty), at >= starts_ms - history_days * day_ms)) AS turns
        FROM
        (
            SELECT t.store_id AS store_id, t.product_id AS product_id, t.sequence AS sequence,
                   t.is_empty AS is_empty, toUnixTimestamp64Milli(t.event_time) AS at,
                   k.starts_ms AS starts_ms, k.ends_ms AS ends_ms
            FROM shelf_turns AS t INNER JOIN keys AS k ON t.store_id = k.store_id
            WHERE toUnixTimestamp64Milli(t.event_time) < k.ends_ms
        )
        GROUP BY store_id, product_id
    ),
    empty AS
    (
        SELECT store_id, product_id, cityHash64(store_id, product_id) AS item_key, begins_ms, closes_ms,
               arrayFilter(s -> s.3, arrayZip(
                   arrayConcat([from_ms], turns.1), arrayConcat(turns.1, [closes_ms]),
                   arrayConcat([before], turns.3))) AS spans,
               arrayFilter(s -> s.2 > begins_ms, spans) AS today,
               arraySum(s -> greatest(least(s.2, begins_ms) - s.1, 0), spans) / day_ms AS empty_days
        FROM turned
        WHERE notEmpty(today)
    ),
    sold AS
    (
        SELECT item_key, sum(units) AS units
        FROM item_sales_daily
        WHERE item_sales_daily.day >= toDate({day:String}) - 28 AND item_sales_daily.day < toDate({day:String})
          AND item_key IN (SELECT item_key FROM empty)
        GROUP BY item_key
    ),
    rated AS
    (
        SELECT e.store_id AS store_id, e.product_id AS product_id, e.begins_ms AS begins_ms,
               e.closes_ms AS closes_ms, e.today AS today,
               (if(p.known, p.daily_units, {default_daily:Float64}) * {prior_days:Float64} + greatest(s.units, 0))
               / ({prior_days:Float64} + greatest({known_days:Float64} - e.empty_days, 0)) AS daily_rate
        FROM empty AS e
        LEFT JOIN sold AS s ON s.item_key = e.item_key
        LEFT JOIN (SELECT store_id, product_id, daily_units, 1 AS known FROM demand_prior FINAL) AS p
            ON p.store_id = e.store_id AND p.product_id = e.product_id
    )
SELECT day, hour, any(toDateTime(intDiv(hour_start_ms, 1000), 'UTC')) AS hour_start, store_id, product_id,
       sum(u), sum(r), sum(c), sum(p), sum(l), sum(turned_empty),
       toDecimal64(sum(empty_ms) / hour_ms, 4) AS empty_hours,
       toDecimal64(1, 4) - empty_hours, toDecimal64(sum(lost), 4), sum(shrunk),
       if(sum(u) > 0 AND sum(r) >= 0, toDecimal64(divideDecimal(sum(r), toDecimal128(sum(u), 0), 4), 4), NULL),
       sum(promoted)
FROM
(
    SELECT toUInt8(least(greatest(intDiv(toUnixTimestamp64Milli(f.event_time) - k.starts_ms, hour_ms), 0),
                         intDiv(k.ends_ms - k.starts_ms, hour_ms) - 1)) AS hour,
           k.starts_ms + hour * hour_ms AS hour_start_ms, f.store_id AS store_id, f.product_id AS product_id,
           toInt64(f.quantity) AS u, toDecimal128(f.revenue, 4) AS r, toDecimal128(f.cost, 4) AS c,
           toDecimal128(f.profit, 4) AS p, toInt64(1) AS l, toInt64(0) AS turned_empty,
           toInt64(0) AS empty_ms, toFloat64(0) AS lost, toInt64(0) AS shrunk,
           if(f.promotion_id IS NOT NULL OR f.discount > 0, toInt64(f.quantity), 0) AS promoted
    FROM fact_sales AS f INNER JOIN keys AS k ON f.store_id = k.store_id
    WHERE f.date_key = toDate({day:String})

    UNION ALL

    SELECT toUInt8(least(greatest(intDiv(toUnixTimestamp64Milli(f.event_time) - k.starts_ms, hour_ms), 0),
                         intDiv(k.ends_ms - k.starts_ms, hour_ms) - 1)) AS hour,
           k.starts_ms + hour * hour_ms AS hour_start_ms, f.store_id, f.product_id,
           0, toDecimal128(0, 4), toDecimal128(0, 4), toDecimal128(0, 4), 0,
           toInt64(f.quantity_on_hand <= 0 AND f.quantity_on_hand - f.quantity_change > 0), 0, 0,
           -- A count of what nobody had counted before is no shrinkage.
           if(f.reason = 'shrinkage' OR (f.reason = 'count' AND f.quantity_change != f.quantity_on_hand),
              -toInt64(f.quantity_change), 0), 0
    FROM fact_inventory AS f INNER JOIN keys AS k ON f.store_id = k.store_id
    WHERE f.date_key = toDate({day:String})
      AND (f.reason IN ('shrinkage', 'count') OR (f.quantity_on_hand <= 0 AND f.quantity_on_hand - f.quantity_change > 0))

    UNION ALL

    SELECT hour, begins_ms + hour * hour_ms AS hour_start_ms, store_id, product_id,
           0, toDecimal128(0, 4), toDecimal128(0, 4), toDecimal128(0, 4), 0, 0,
           toInt64(arraySum(s -> greatest(least(s.2, hour_start_ms + hour_ms) - greatest(s.1, hour_start_ms), 0),
                            today)) AS empty_ms,
           daily_rate * {hour_share:Array(Float64)}[hour + 1] * empty_ms / hour_ms, 0, 0
    FROM rated
    ARRAY JOIN range(toUInt8(intDiv(closes_ms - begins_ms, hour_ms))) AS hour
    WHERE empty_ms > 0
)
GROUP BY store_id, product_id, hour
