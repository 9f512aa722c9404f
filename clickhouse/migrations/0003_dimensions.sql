-- Dimensions: the newest load of a key wins.

CREATE TABLE dim_product
(
    product_id       String,
    product_key      UInt64 DEFAULT xxHash64(product_id),
    sku              String,
    product_name     String,
    department       LowCardinality(String),
    category         LowCardinality(String),
    sub_category     LowCardinality(String),
    brand            LowCardinality(String),
    supplier_id      String,
    unit_cost        Nullable(Decimal(18, 4)),
    margin           Float64 COMMENT 'Gross margin of the department; stands in where unit_cost is missing',
    shelf_life_days  Nullable(Int32),
    loaded_at        DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(loaded_at)
ORDER BY product_id;

CREATE TABLE dim_store
(
    store_id    String,
    store_key   UInt64 DEFAULT xxHash64(store_id),
    store_name  String,
    region      LowCardinality(String),
    time_zone   LowCardinality(String),
    loaded_at   DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(loaded_at)
ORDER BY store_id;

CREATE TABLE dim_supplier
(
    supplier_id     String,
    supplier_name   String,
    lead_time_days  Float64,
    loaded_at       DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(loaded_at)
ORDER BY supplier_id;

CREATE TABLE dim_date
(
    date_key     Date,
    year         UInt16,
    quarter      UInt8,
    month        UInt8,
    day          UInt8,
    iso_week     UInt8,
    day_of_week  UInt8 COMMENT '1 is Monday',
    is_weekend   Bool
)
ENGINE = ReplacingMergeTree
ORDER BY date_key;

INSERT INTO dim_date
SELECT d, toYear(d), toQuarter(d), toMonth(d), toDayOfMonth(d), toISOWeek(d), toDayOfWeek(d),
       toDayOfWeek(d) >= 6
FROM (SELECT toDate('2000-01-01') + number AS d FROM numbers(18263));

-- What was known of demand before the stream began.
CREATE TABLE demand_prior
(
    store_id        LowCardinality(String),
    product_id      String,
    daily_units     Float64,
    dispersion      Float64 COMMENT 'Variance over mean of daily demand, at least 1',
    lead_time_days  Float64,
    loaded_at       DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(loaded_at)
ORDER BY (store_id, product_id);

-- Stock movements beside the levels they should be judged by.
CREATE VIEW inventory_status AS
SELECT f.inventory_id, f.date_key, f.product_key, f.store_key, f.store_id, f.product_id,
       f.quantity_on_hand, f.quantity_change, f.reason, f.event_time,
       r.reorder_point, r.safety_stock
FROM fact_inventory AS f
LEFT JOIN (SELECT store_id, product_id, reorder_point, safety_stock FROM stockout_risk FINAL) AS r
    ON f.store_id = r.store_id AND f.product_id = r.product_id;
