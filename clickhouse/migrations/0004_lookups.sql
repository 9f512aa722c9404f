-- What every batch looks up, by thousands of random keys: laid out so that a lookup reads little and
-- asks few parts. Granules and blocks are small, and merges leave fewer parts behind: a lookup costs
-- about 13 us a key and part.

-- Finds an event by its identity at any age. A row written twice is harmless.
DROP TABLE event_index;

CREATE TABLE event_index
(
    event_key  FixedString(16) CODEC(NONE),
    arrival    DateTime64(3, 'UTC'),
    topic_id   LowCardinality(String),
    partition  Int32,
    offset     Int64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(arrival)
ORDER BY event_key
SETTINGS index_granularity = 64, min_compress_block_size = 2048, max_compress_block_size = 2048,
         merge_selector_base = 5,
         non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

INSERT INTO event_index (event_key, arrival, topic_id, partition, offset)
SELECT event_key, arrival, topic_id, partition, offset FROM fact_sales;

INSERT INTO event_index (event_key, arrival, topic_id, partition, offset)
SELECT event_key, arrival, topic_id, partition, offset FROM fact_inventory;

INSERT INTO event_index (event_key, arrival, topic_id, partition, offset)
SELECT event_key, arrival, topic_id, partition, offset FROM price_changes;

INSERT INTO event_index (event_key, arrival, topic_id, partition, offset)
SELECT event_key, arrival, topic_id, partition, offset FROM customer_events;

-- What the risk of an item is computed from, by a hash of store and product, in numbers that merge
-- without allocating.

DROP VIEW current_stock;

DROP VIEW current_stock_feed;

DROP TABLE current_stock_states;

-- The newest report of each item wins, whatever order reports arrive in. `newest` is one number,
-- most significant first: 64 bits each of sequence, event time in ms, offset, quantity on hand.
-- Taking a maximum twice changes nothing, so a retried insert cannot harm it.
CREATE TABLE current_stock_states
(
    item_key    UInt64 COMMENT 'cityHash64(store_id, product_id)',
    store_id    LowCardinality(String),
    product_id  String,
    newest      SimpleAggregateFunction(max, UInt256)
)
ENGINE = AggregatingMergeTree
PRIMARY KEY item_key
ORDER BY (item_key, store_id, product_id)
SETTINGS index_granularity = 64, min_compress_block_size = 4096, max_compress_block_size = 8192,
         merge_selector_base = 5;

CREATE MATERIALIZED VIEW current_stock_feed TO current_stock_states AS
SELECT cityHash64(store_id, product_id) AS item_key, store_id, product_id,
       max(bitOr(
           bitOr(bitShiftLeft(toUInt256(bitXor(reinterpretAsUInt64(sequence), 9223372036854775808)), 192),
                 bitShiftLeft(toUInt256(toUnixTimestamp64Milli(event_time)), 128)),
           bitOr(bitShiftLeft(toUInt256(offset), 64),
                 toUInt256(reinterpretAsUInt32(quantity_on_hand))))) AS newest
FROM fact_inventory
GROUP BY item_key, store_id, product_id;

INSERT INTO current_stock_states
SELECT cityHash64(store_id, product_id) AS item_key, store_id, product_id,
       max(bitOr(
           bitOr(bitShiftLeft(toUInt256(bitXor(reinterpretAsUInt64(sequence), 9223372036854775808)), 192),
                 bitShiftLeft(toUInt256(toUnixTimestamp64Milli(event_time)), 128)),
           bitOr(bitShiftLeft(toUInt256(offset), 64),
                 toUInt256(reinterpretAsUInt32(quantity_on_hand))))) AS newest
FROM fact_inventory
GROUP BY item_key, store_id, product_id;

CREATE VIEW current_stock AS
SELECT store_id, product_id,
       reinterpretAsInt32(toUInt32(bitAnd(last, 4294967295))) AS on_hand,
       reinterpretAsInt64(bitXor(toUInt64(bitShiftRight(last, 192)), 9223372036854775808)) AS sequence,
       fromUnixTimestamp64Milli(toInt64(bitAnd(bitShiftRight(last, 128), 18446744073709551615)), 'UTC') AS updated_at
FROM
(
    SELECT store_id, product_id, max(newest) AS last
    FROM current_stock_states
    GROUP BY item_key, store_id, product_id
);

-- Units and revenue of an item by UTC day, which is what demand is judged by. Fed by the window
-- sums, so that a repaired window repairs its day.
CREATE TABLE item_sales_daily
(
    item_key    UInt64 COMMENT 'cityHash64(store_id, product_id)',
    day         Date,
    store_id    LowCardinality(String),
    product_id  String,
    units       SimpleAggregateFunction(sum, Int64),
    revenue     SimpleAggregateFunction(sum, Decimal(38, 4))
)
ENGINE = AggregatingMergeTree
PRIMARY KEY (item_key, day)
ORDER BY (item_key, day, store_id, product_id)
SETTINGS index_granularity = 64, min_compress_block_size = 4096, max_compress_block_size = 8192,
         merge_selector_base = 5,
         non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW item_sales_daily_feed TO item_sales_daily AS
SELECT cityHash64(store_id, product_id) AS item_key, toDate(window_start) AS day,
       store_id, product_id, sum(units) AS units, sum(revenue) AS revenue
FROM velocity_5m_sums
GROUP BY item_key, day, store_id, product_id;

TRUNCATE TABLE item_sales_daily;

INSERT INTO item_sales_daily
SELECT cityHash64(store_id, product_id) AS item_key, toDate(window_start) AS day,
       store_id, product_id, sum(units) AS units, sum(revenue) AS revenue
FROM velocity_5m_sums
GROUP BY item_key, day, store_id, product_id;
