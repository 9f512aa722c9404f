-- Facts, and the two other places a record can land. Every row carries its Kafka coordinates
-- (topic_id, partition, offset) and arrival, the broker's append time.
-- No table here expires by event time: a late event must still find its place.

CREATE TABLE fact_sales
(
    sale_id         String COMMENT 'Identity given by the source: event id, else transaction:product:line',
    date_key        Date COMMENT 'Date of the sale in the store''s own time zone',
    product_key     UInt64 DEFAULT xxHash64(product_id),
    store_key       UInt64 DEFAULT xxHash64(store_id),
    quantity        Int32 COMMENT 'Units; negative is a return',
    revenue         Decimal(18, 4) COMMENT 'What was paid for the line',
    cost            Decimal(18, 4) COMMENT 'Units times unit cost, or revenue less the department''s margin',
    profit          Decimal(18, 4),
    store_id        LowCardinality(String),
    product_id      String,
    transaction_id  String,
    line_number     Int32,
    unit_price      Decimal(18, 4),
    discount        Nullable(Decimal(18, 4)),
    promotion_id    LowCardinality(Nullable(String)),
    customer_id     Nullable(String) COMMENT 'Keyed HMAC',
    payment_method  LowCardinality(String),
    window_start    DateTime('UTC') COMMENT 'Start of the 5-minute event-time window',
    event_time      DateTime64(3, 'UTC'),
    arrival         DateTime64(3, 'UTC'),
    schema_id       Int32,
    event_key       FixedString(16) COMMENT 'MD5 of store_id and identity',
    topic_id        LowCardinality(String),
    partition       Int32,
    offset          Int64,
    INDEX offset_range offset TYPE minmax GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(date_key)
ORDER BY (date_key, store_key, product_key)
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

CREATE TABLE fact_inventory
(
    inventory_id      String,
    date_key          Date,
    product_key       UInt64 DEFAULT xxHash64(product_id),
    store_key         UInt64 DEFAULT xxHash64(store_id),
    quantity_on_hand  Int32 COMMENT 'Recorded stock after the movement',
    quantity_change   Int32,
    reason            LowCardinality(String),
    sequence          Int64 COMMENT 'Per store and product; 0 when the source has none',
    store_id          LowCardinality(String),
    product_id        String,
    event_time        DateTime64(3, 'UTC'),
    arrival           DateTime64(3, 'UTC'),
    schema_id         Int32,
    event_key         FixedString(16),
    topic_id          LowCardinality(String),
    partition         Int32,
    offset            Int64,
    INDEX offset_range offset TYPE minmax GRANULARITY 4
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(date_key)
ORDER BY (date_key, store_key, product_key)
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

CREATE TABLE price_changes
(
    price_change_id  String,
    date_key         Date,
    store_id         LowCardinality(String),
    product_id       String,
    old_price        Decimal(18, 4),
    new_price        Decimal(18, 4),
    reason           LowCardinality(String),
    effective_from   DateTime64(3, 'UTC'),
    effective_to     Nullable(DateTime64(3, 'UTC')),
    event_time       DateTime64(3, 'UTC'),
    arrival          DateTime64(3, 'UTC'),
    schema_id        Int32,
    event_key        FixedString(16),
    topic_id         LowCardinality(String),
    partition        Int32,
    offset           Int64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(date_key)
ORDER BY (store_id, product_id, effective_from)
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

CREATE TABLE customer_events
(
    event_id     String,
    date_key     Date,
    store_id     LowCardinality(String),
    product_id   Nullable(String),
    customer_id  Nullable(String),
    event_type   LowCardinality(String),
    event_time   DateTime64(3, 'UTC'),
    arrival      DateTime64(3, 'UTC'),
    schema_id    Int32,
    event_key    FixedString(16),
    topic_id     LowCardinality(String),
    partition    Int32,
    offset       Int64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(date_key)
ORDER BY (store_id, event_time)
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

CREATE TABLE duplicates
(
    topic             LowCardinality(String),
    topic_id          LowCardinality(String),
    partition         Int32,
    offset            Int64,
    arrival           DateTime64(3, 'UTC'),
    event_time        DateTime64(3, 'UTC'),
    store_id          LowCardinality(String),
    identity          String,
    event_key         FixedString(16),
    winner_topic_id   LowCardinality(String) COMMENT 'Coordinates of the event that counts',
    winner_partition  Int32,
    winner_offset     Int64,
    value             String COMMENT 'The record as it was received'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(arrival)
ORDER BY (topic_id, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

CREATE TABLE quarantine
(
    topic      LowCardinality(String),
    topic_id   LowCardinality(String),
    partition  Int32,
    offset     Int64,
    arrival    DateTime64(3, 'UTC'),
    reason     LowCardinality(String),
    detail     String,
    key        Nullable(String),
    value      Nullable(String) COMMENT 'The record as it was received'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(arrival)
ORDER BY (topic_id, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

-- Finds an event by its identity at any age. Kept in hash order with small granules, so that a
-- batch of a few thousand keys reads a few megabytes. A row written twice is harmless.
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
SETTINGS index_granularity = 256,
         non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

-- How far each query of the stream has got: everything below next_offset is stored.
CREATE TABLE stream_commits
(
    query         LowCardinality(String),
    topic         LowCardinality(String),
    topic_id      LowCardinality(String),
    partition     Int32,
    next_offset   Int64,
    batch_id      Int64,
    committed_at  DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(committed_at)
ORDER BY (query, topic_id, partition);
