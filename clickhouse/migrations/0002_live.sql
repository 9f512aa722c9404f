-- What the live path keeps current: velocity, stock, risk, alerts, anomalies.

-- Partial sums, merged by the engine. Read it through the view velocity_5m.
CREATE TABLE velocity_5m_sums
(
    store_id      LowCardinality(String),
    product_id    String,
    window_start  DateTime('UTC'),
    units         SimpleAggregateFunction(sum, Int64),
    revenue       SimpleAggregateFunction(sum, Decimal(38, 4)),
    lines         SimpleAggregateFunction(sum, Int64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(window_start)
ORDER BY (store_id, product_id, window_start)
SETTINGS index_granularity = 1024,
         non_replicated_deduplication_window = 10000,
         replicated_deduplication_window = 10000,
         replicated_deduplication_window_seconds = 604800;

CREATE VIEW velocity_5m AS
SELECT store_id, product_id, window_start,
       sum(units) AS units, sum(revenue) AS revenue, sum(lines) AS lines
FROM velocity_5m_sums
GROUP BY store_id, product_id, window_start;

-- The newest report of each item wins, whatever order reports arrive in. Taking a maximum twice
-- changes nothing, so a retried insert cannot harm it.
CREATE TABLE current_stock_states
(
    store_id       LowCardinality(String),
    product_id     String,
    newest         AggregateFunction(argMax, Int32, Tuple(Int64, DateTime64(3, 'UTC'), Int64)),
    last_sequence  SimpleAggregateFunction(max, Int64),
    last_moved_at  SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = AggregatingMergeTree
ORDER BY (store_id, product_id)
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW current_stock_feed TO current_stock_states AS
SELECT store_id, product_id,
       argMaxState(quantity_on_hand, (sequence, event_time, offset)) AS newest,
       max(sequence) AS last_sequence,
       max(event_time) AS last_moved_at
FROM fact_inventory
GROUP BY store_id, product_id;

CREATE VIEW current_stock AS
SELECT store_id, product_id, argMaxMerge(newest) AS on_hand,
       max(last_sequence) AS sequence, max(last_moved_at) AS updated_at
FROM current_stock_states
GROUP BY store_id, product_id;

CREATE TABLE stockout_risk_history
(
    as_of           DateTime64(3, 'UTC') COMMENT 'Stream time of the score',
    computed_at     DateTime64(6, 'UTC'),
    store_id        LowCardinality(String),
    product_id      String,
    risk            Float64 COMMENT 'P(stock reaches 0 before an order placed now arrives)',
    on_hand         Int32,
    days_of_cover   Float64,
    empty_p10_days  Float64 COMMENT 'Time to stock-out, 10 % quantile',
    empty_p50_days  Float64,
    empty_p90_days  Float64,
    daily_units     Float64 COMMENT 'Mean of the demand belief',
    belief_a        Float64,
    belief_b        Float64,
    dispersion      Float64 COMMENT 'Variance over mean of demand',
    evidence_units  Float64,
    evidence_days   Float64,
    lead_time_days  Float64,
    reorder_point   Int32,
    safety_stock    Float64,
    expected_lost_margin Decimal(18, 4)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(computed_at)
ORDER BY (store_id, product_id, as_of)
TTL toDateTime(computed_at) + INTERVAL 90 DAY;

CREATE TABLE stockout_risk
(
    as_of           DateTime64(3, 'UTC'),
    computed_at     DateTime64(6, 'UTC'),
    store_id        LowCardinality(String),
    product_id      String,
    risk            Float64,
    on_hand         Int32,
    days_of_cover   Float64,
    empty_p10_days  Float64,
    empty_p50_days  Float64,
    empty_p90_days  Float64,
    daily_units     Float64,
    belief_a        Float64,
    belief_b        Float64,
    dispersion      Float64,
    evidence_units  Float64,
    evidence_days   Float64,
    lead_time_days  Float64,
    reorder_point   Int32,
    safety_stock    Float64,
    expected_lost_margin Decimal(18, 4)
)
ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (store_id, product_id);

CREATE MATERIALIZED VIEW stockout_risk_feed TO stockout_risk AS
SELECT * FROM stockout_risk_history;

-- One row a transition; (alert_id, version) is its identity.
CREATE TABLE restock_alert_history
(
    alert_id              String,
    version               Int32,
    store_id              LowCardinality(String),
    product_id            String,
    state                 LowCardinality(String),
    risk                  Float64,
    on_hand               Int32,
    expected_lost_margin  Decimal(18, 4),
    explanation           String,
    opened_at             DateTime64(3, 'UTC'),
    at                    DateTime64(3, 'UTC') COMMENT 'Stream time of the transition',
    recorded_at           DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (alert_id, version);

CREATE VIEW restock_alerts AS
SELECT *
FROM restock_alert_history FINAL
ORDER BY version DESC
LIMIT 1 BY alert_id;

-- The outbox's memory: which transitions the broker has acknowledged.
CREATE TABLE restock_alerts_published
(
    alert_id      String,
    version       Int32,
    published_at  DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (alert_id, version);

CREATE TABLE anomalies
(
    topic_id    LowCardinality(String),
    partition   Int32,
    offset      Int64,
    kind        LowCardinality(String),
    store_id    LowCardinality(String),
    product_id  String,
    value       Float64,
    expected    Float64 COMMENT 'The upper bound that the value exceeded',
    detail      String,
    event_time  DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic_id, partition, offset, kind);
