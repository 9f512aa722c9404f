-- What the nights make: rollups, the record of what was loaded, results of checks, erasures.
--
-- A day is rolled up beside what is in service, in the tables called _staging, is checked there, and
-- then replaces its partition at once. An item without a row sold nothing, was not moved, and was
-- never empty that day.

CREATE TABLE rollup_hourly
(
    date_key         Date COMMENT 'The store''s local date',
    hour             UInt8 COMMENT 'Hours since the store''s midnight',
    hour_start       DateTime('UTC'),
    store_id         LowCardinality(String),
    product_id       String,
    units            Int64 COMMENT 'Net of returns',
    revenue          Decimal(38, 4),
    cost             Decimal(38, 4),
    profit           Decimal(38, 4),
    lines            Int64 COMMENT 'Lines of receipts',
    stockouts        Int64 COMMENT 'Times a shelf became empty by its books',
    empty_hours      Decimal(18, 4) COMMENT 'Hours a shelf was empty by its books',
    in_stock_hours   Decimal(18, 4) COMMENT 'The other hours, of the items that have a row',
    lost_units       Decimal(18, 4) COMMENT 'Estimate: what would have sold in the empty hours',
    shrinkage_units  Int64 COMMENT 'Units that were gone when somebody counted, less units found',
    price            Nullable(Decimal(18, 4)) COMMENT 'Revenue per unit; null when nothing was sold, net',
    promotion_units  Int64 COMMENT 'Units sold with a promotion or discount',
    computed_at      DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY date_key
ORDER BY (store_id, product_id, hour);

CREATE TABLE rollup_daily
(
    date_key         Date COMMENT 'The store''s local date',
    store_id         LowCardinality(String),
    product_id       String,
    units            Int64 COMMENT 'Net of returns',
    revenue          Decimal(38, 4),
    cost             Decimal(38, 4),
    profit           Decimal(38, 4),
    lines            Int64 COMMENT 'Lines of receipts',
    stockouts        Int64 COMMENT 'Times a shelf became empty by its books',
    empty_hours      Decimal(18, 4) COMMENT 'Hours a shelf was empty by its books',
    in_stock_hours   Decimal(18, 4) COMMENT 'The other hours, of the items that have a row',
    lost_units       Decimal(18, 4) COMMENT 'Estimate: what would have sold in the empty hours',
    shrinkage_units  Int64 COMMENT 'Units that were gone when somebody counted, less units found',
    price            Nullable(Decimal(18, 4)) COMMENT 'Revenue per unit; null when nothing was sold, net',
    promotion_units  Int64 COMMENT 'Units sold with a promotion or discount',
    computed_at      DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY date_key
ORDER BY (store_id, product_id);

CREATE TABLE rollup_weekly
(
    date_key         Date COMMENT 'The Monday of the week',
    store_id         LowCardinality(String),
    product_id       String,
    units            Int64 COMMENT 'Net of returns',
    revenue          Decimal(38, 4),
    cost             Decimal(38, 4),
    profit           Decimal(38, 4),
    lines            Int64 COMMENT 'Lines of receipts',
    stockouts        Int64 COMMENT 'Times a shelf became empty by its books',
    empty_hours      Decimal(18, 4) COMMENT 'Hours a shelf was empty by its books',
    in_stock_hours   Decimal(18, 4) COMMENT 'The other hours, of the items that have a row',
    lost_units       Decimal(18, 4) COMMENT 'Estimate: what would have sold in the empty hours',
    shrinkage_units  Int64 COMMENT 'Units that were gone when somebody counted, less units found',
    price            Nullable(Decimal(18, 4)) COMMENT 'Revenue per unit; null when nothing was sold, net',
    promotion_units  Int64 COMMENT 'Units sold with a promotion or discount',
    computed_at      DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY date_key
ORDER BY (store_id, product_id);

CREATE TABLE rollup_groups
(
    period           LowCardinality(String) COMMENT 'hour, day or week',
    date_key         Date COMMENT 'Local date; of a week, its Monday',
    hour             UInt8 COMMENT 'Hours since midnight; 0 for days and weeks',
    level            LowCardinality(String) COMMENT 'store, category, region or chain',
    key              String COMMENT 'Which store, category or region; empty for the chain',
    units            Int64 COMMENT 'Net of returns',
    revenue          Decimal(38, 4),
    cost             Decimal(38, 4),
    profit           Decimal(38, 4),
    lines            Int64 COMMENT 'Lines of receipts',
    stockouts        Int64 COMMENT 'Times a shelf became empty by its books',
    empty_hours      Decimal(18, 4) COMMENT 'Hours a shelf was empty by its books',
    in_stock_hours   Decimal(18, 4) COMMENT 'The other hours, of the items that have a row',
    lost_units       Decimal(18, 4) COMMENT 'Estimate: what would have sold in the empty hours',
    shrinkage_units  Int64 COMMENT 'Units that were gone when somebody counted, less units found',
    price            Nullable(Decimal(18, 4)) COMMENT 'Revenue per unit; null when nothing was sold, net',
    promotion_units  Int64 COMMENT 'Units sold with a promotion or discount',
    computed_at      DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY (period, date_key)
ORDER BY (level, key, hour);

CREATE TABLE rollup_hourly_staging
(
    date_key         Date COMMENT 'The store''s local date',
    hour             UInt8 COMMENT 'Hours since the store''s midnight',
    hour_start       DateTime('UTC'),
    store_id         LowCardinality(String),
    product_id       String,
    units            Int64 COMMENT 'Net of returns',
    revenue          Decimal(38, 4),
    cost             Decimal(38, 4),
    profit           Decimal(38, 4),
    lines            Int64 COMMENT 'Lines of receipts',
    stockouts        Int64 COMMENT 'Times a shelf became empty by its books',
    empty_hours      Decimal(18, 4) COMMENT 'Hours a shelf was empty by its books',
    in_stock_hours   Decimal(18, 4) COMMENT 'The other hours, of the items that have a row',
    lost_units       Decimal(18, 4) COMMENT 'Estimate: what would have sold in the empty hours',
    shrinkage_units  Int64 COMMENT 'Units that were gone when somebody counted, less units found',
    price            Nullable(Decimal(18, 4)) COMMENT 'Revenue per unit; null when nothing was sold, net',
    promotion_units  Int64 COMMENT 'Units sold with a promotion or discount',
    computed_at      DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY date_key
ORDER BY (store_id, product_id, hour);

CREATE TABLE rollup_daily_staging
(
    date_key         Date COMMENT 'The store''s local date',
    store_id         LowCardinality(String),
    product_id       String,
    units            Int64 COMMENT 'Net of returns',
    revenue          Decimal(38, 4),
    cost             Decimal(38, 4),
    profit           Decimal(38, 4),
    lines            Int64 COMMENT 'Lines of receipts',
    stockouts        Int64 COMMENT 'Times a shelf became empty by its books',
    empty_hours      Decimal(18, 4) COMMENT 'Hours a shelf was empty by its books',
    in_stock_hours   Decimal(18, 4) COMMENT 'The other hours, of the items that have a row',
    lost_units       Decimal(18, 4) COMMENT 'Estimate: what would have sold in the empty hours',
    shrinkage_units  Int64 COMMENT 'Units that were gone when somebody counted, less units found',
    price            Nullable(Decimal(18, 4)) COMMENT 'Revenue per unit; null when nothing was sold, net',
    promotion_units  Int64 COMMENT 'Units sold with a promotion or discount',
    computed_at      DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY date_key
ORDER BY (store_id, product_id);

CREATE TABLE rollup_weekly_staging
(
    date_key         Date COMMENT 'The Monday of the week',
    store_id         LowCardinality(String),
    product_id       String,
    units            Int64 COMMENT 'Net of returns',
    revenue          Decimal(38, 4),
    cost             Decimal(38, 4),
    profit           Decimal(38, 4),
    lines            Int64 COMMENT 'Lines of receipts',
    stockouts        Int64 COMMENT 'Times a shelf became empty by its books',
    empty_hours      Decimal(18, 4) COMMENT 'Hours a shelf was empty by its books',
    in_stock_hours   Decimal(18, 4) COMMENT 'The other hours, of the items that have a row',
    lost_units       Decimal(18, 4) COMMENT 'Estimate: what would have sold in the empty hours',
    shrinkage_units  Int64 COMMENT 'Units that were gone when somebody counted, less units found',
    price            Nullable(Decimal(18, 4)) COMMENT 'Revenue per unit; null when nothing was sold, net',
    promotion_units  Int64 COMMENT 'Units sold with a promotion or discount',
    computed_at      DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY date_key
ORDER BY (store_id, product_id);

CREATE TABLE rollup_groups_staging
(
    period           LowCardinality(String) COMMENT 'hour, day or week',
    date_key         Date COMMENT 'Local date; of a week, its Monday',
    hour             UInt8 COMMENT 'Hours since midnight; 0 for days and weeks',
    level            LowCardinality(String) COMMENT 'store, category, region or chain',
    key              String COMMENT 'Which store, category or region; empty for the chain',
    units            Int64 COMMENT 'Net of returns',
    revenue          Decimal(38, 4),
    cost             Decimal(38, 4),
    profit           Decimal(38, 4),
    lines            Int64 COMMENT 'Lines of receipts',
    stockouts        Int64 COMMENT 'Times a shelf became empty by its books',
    empty_hours      Decimal(18, 4) COMMENT 'Hours a shelf was empty by its books',
    in_stock_hours   Decimal(18, 4) COMMENT 'The other hours, of the items that have a row',
    lost_units       Decimal(18, 4) COMMENT 'Estimate: what would have sold in the empty hours',
    shrinkage_units  Int64 COMMENT 'Units that were gone when somebody counted, less units found',
    price            Nullable(Decimal(18, 4)) COMMENT 'Revenue per unit; null when nothing was sold, net',
    promotion_units  Int64 COMMENT 'Units sold with a promotion or discount',
    computed_at      DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree
PARTITION BY (period, date_key)
ORDER BY (level, key, hour);

-- Which days are in service, and what they were made of.
CREATE TABLE night_loads
(
    date_key    Date,
    loaded_at   DateTime64(6, 'UTC') DEFAULT now64(6),
    run_id      String,
    reason      LowCardinality(String) COMMENT 'night, or correction when late events had come',
    sale_lines  Int64,
    movements   Int64,
    units       Int64,
    revenue     Decimal(38, 4)
)
ENGINE = ReplacingMergeTree(loaded_at)
ORDER BY date_key;

-- Up to which offset of each partition a day has been looked at. A fact of that day with a higher
-- one came late.
CREATE TABLE night_cuts
(
    date_key     Date,
    topic_id     String,
    partition    Int32,
    next_offset  Int64,
    recorded_at  DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (date_key, topic_id, partition);

CREATE TABLE night_cuts_staging
(
    date_key     Date,
    topic_id     String,
    partition    Int32,
    next_offset  Int64,
    recorded_at  DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(recorded_at)
ORDER BY (date_key, topic_id, partition);

-- Every step of every night: begun, done or failed, in its own words.
CREATE TABLE night_steps
(
    run_id    String,
    date_key  Date,
    step      LowCardinality(String),
    state     LowCardinality(String) COMMENT 'running, done or failed',
    at        DateTime64(6, 'UTC') DEFAULT now64(6),
    seconds   Float64,
    detail    String,
    hint      String
)
ENGINE = MergeTree
ORDER BY (date_key, run_id, at);

CREATE TABLE quality_results
(
    date_key    Date,
    table_name  LowCardinality(String),
    check_name  LowCardinality(String),
    kind        LowCardinality(String) COMMENT 'completeness, timeliness, accuracy, uniqueness, reconciliation or validity',
    critical    Bool COMMENT 'A failure keeps the day out of service',
    checked     Int64 COMMENT 'Rows, items or windows that were looked at',
    failed      Int64 COMMENT '… and found wrong',
    passed      Bool,
    says        String,
    checked_at  DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(checked_at)
ORDER BY (date_key, table_name, check_name);

-- Completeness counts 40, accuracy 30, validity 30. Timeliness is part of completeness; uniqueness
-- and reconciliation are part of accuracy.
CREATE VIEW quality_scores AS
SELECT date_key, table_name,
       40 * avgIf(share, pillar = 'completeness') + 30 * avgIf(share, pillar = 'accuracy')
           + 30 * avgIf(share, pillar = 'validity') AS score,
       100 * avgIf(share, pillar = 'completeness') AS completeness,
       100 * avgIf(share, pillar = 'accuracy') AS accuracy,
       100 * avgIf(share, pillar = 'validity') AS validity,
       countIf(NOT passed) AS failed_checks, max(checked_at) AS checked_at
FROM
(
    SELECT date_key, table_name, passed, checked_at,
           if(checked = 0, if(passed, 1, 0), 1 - failed / checked) AS share,
           multiIf(kind IN ('completeness', 'timeliness'), 'completeness', kind = 'validity', 'validity', 'accuracy') AS pillar
    FROM quality_results FINAL
)
GROUP BY date_key, table_name;

-- What somebody on call must know of the nights. The newest row of a day counts.
CREATE TABLE night_alerts
(
    date_key   Date,
    step       LowCardinality(String),
    state      LowCardinality(String) COMMENT 'open or resolved',
    message    String,
    hint       String,
    at         DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(at)
ORDER BY date_key;

-- Whose traces were erased. Only a hash of the pseudonym is kept: enough to erase again what a
-- rebuild or a late event brings back, and no way to the customer.
CREATE TABLE erasures
(
    customer_hash  FixedString(64) COMMENT 'SHA-256 of the pseudonym, in hex',
    requested_at   DateTime64(6, 'UTC'),
    requested_by   String,
    reason         String,
    applied_at     DateTime64(6, 'UTC') DEFAULT now64(6),
    warehouse_rows Int64 COMMENT 'Rows that named the customer before',
    lake_records   Int64 COMMENT 'Archived records that named the customer before',
    remaining      Int64 COMMENT 'Rows and records that name the customer now',
    kafka_until    DateTime64(3, 'UTC') COMMENT 'When the last record that may name the customer leaves Kafka'
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY customer_hash;
