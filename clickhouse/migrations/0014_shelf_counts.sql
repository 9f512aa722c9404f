-- How many shelves have stock is asked for by everybody, and counting takes a look at each of them.
-- So the stream counts once a minute, by store.
CREATE TABLE shelf_counts
(
    store_id        LowCardinality(String),
    shelves         UInt64 COMMENT 'With a known stock',
    with_stock      UInt64 COMMENT 'Of those, with more than nothing',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this was in',
    counted_at      DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(counted_at)
ORDER BY store_id;

-- Where no stream has counted for a while, it is counted when it is asked for.
CREATE VIEW bi_availability
(
    store_id        String COMMENT 'Store: bi_stores',
    shelves         UInt64 COMMENT 'Shelves whose stock is known',
    with_stock      UInt64 COMMENT 'Of those, shelves with stock by their books',
    counted_at      DateTime64(3, 'UTC') COMMENT 'When they were counted: once a minute while the stream is at work',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in'
) AS
WITH (SELECT max(counted_at) > now64(3) - INTERVAL 5 MINUTE FROM shelf_counts) AS is_counted
SELECT toString(store_id) AS store_id, shelves, with_stock, counted_at, complete_until
FROM shelf_counts FINAL
WHERE is_counted
UNION ALL
SELECT toString(store_id) AS store_id, count() AS shelves, countIf(on_hand > 0) AS with_stock,
       now64(3) AS counted_at,
       assumeNotNull((SELECT complete_until FROM movements_complete_until)) AS complete_until
FROM current_stock
WHERE NOT is_counted
GROUP BY store_id
COMMENT 'Shelves with stock, by store';
