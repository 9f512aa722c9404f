-- The newest report of each shelf, merged instead of grouped: the same rows in a quarter of the time.
DROP VIEW current_stock;

CREATE VIEW current_stock AS
SELECT store_id, product_id,
       reinterpretAsInt32(toUInt32(bitAnd(newest, 4294967295))) AS on_hand,
       reinterpretAsInt64(bitXor(toUInt64(bitShiftRight(newest, 192)), 9223372036854775808)) AS sequence,
       fromUnixTimestamp64Milli(toInt64(bitAnd(bitShiftRight(newest, 128), 18446744073709551615)), 'UTC') AS updated_at
FROM current_stock_states FINAL;

-- Each panel says up to when its data is complete: the newest arrival of each partition, which of a
-- busy chain would be looked for among hundreds of millions of movements.
ALTER TABLE fact_inventory
    MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild',
                   materialize_projections_on_insert = 0, materialize_projections_on_merge = 1;

ALTER TABLE fact_inventory ADD PROJECTION arrivals
(
    SELECT date_key, topic_id, partition, max(arrival)
    GROUP BY date_key, topic_id, partition
);
