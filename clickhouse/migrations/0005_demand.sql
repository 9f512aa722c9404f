-- What is known of demand and supply: learned from facts at night, used with every score.

-- When a shelf went empty by its books, or was filled again: what an item sold while it could be
-- bought is judged by this.
CREATE TABLE shelf_turns
(
    store_id    LowCardinality(String),
    product_id  String,
    event_time  DateTime64(3, 'UTC'),
    sequence    Int64,
    is_empty    Bool
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (store_id, product_id, event_time, sequence, is_empty);

CREATE MATERIALIZED VIEW shelf_turns_feed TO shelf_turns AS
SELECT store_id, product_id, event_time, sequence, quantity_on_hand <= 0 AS is_empty
FROM fact_inventory
WHERE (quantity_on_hand <= 0) != (quantity_on_hand - quantity_change <= 0);

TRUNCATE TABLE shelf_turns;

INSERT INTO shelf_turns
SELECT store_id, product_id, event_time, sequence, quantity_on_hand <= 0 AS is_empty
FROM fact_inventory
WHERE (quantity_on_hand <= 0) != (quantity_on_hand - quantity_change <= 0);

-- What the chain has ordered of its suppliers, as its order system tells it: `tillstream dimensions load`.
CREATE TABLE purchase_orders
(
    order_id     String,
    store_id     LowCardinality(String),
    product_id   String,
    units        Int32,
    ordered_at   DateTime64(3, 'UTC'),
    expected_at  DateTime64(3, 'UTC'),
    loaded_at    DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(loaded_at)
ORDER BY (store_id, product_id, order_id);

CREATE TABLE demand_belief
(
    store_id     LowCardinality(String),
    product_id   String,
    a            Float64 COMMENT 'Rate in units a demand day is Gamma(a, b)',
    b            Float64,
    dispersion   Float64 COMMENT 'Variance over mean of demand at a known rate, at least 1',
    as_of        DateTime64(3, 'UTC') COMMENT 'Sales before this are in it',
    learned_at   DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(learned_at)
ORDER BY (store_id, product_id);

-- How the chain works, one row a learning; the newest counts.
CREATE TABLE demand_model
(
    as_of             DateTime64(3, 'UTC'),
    learned_at        DateTime64(6, 'UTC'),
    hour_weights      Array(Float64) COMMENT 'Demand by local hour of the week, from Monday 0:00; mean 1/24',
    elasticity        Float64 COMMENT 'Demand answers to a price ratio r by r to the power of minus this',
    stock_error       Array(Array(Float64)) COMMENT 'By class of recorded stock: how far off the books are',
    late_by_supplier  Map(String, Float64) COMMENT 'Share of orders that come late',
    late_share        Float64 COMMENT 'The same of the whole chain',
    late_days         Float64 COMMENT 'By how many days, when they do'
)
ENGINE = ReplacingMergeTree(learned_at)
ORDER BY as_of;
