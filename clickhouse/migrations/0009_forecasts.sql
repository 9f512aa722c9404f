-- What is expected of the next seven days, from what, and how good that has been.
-- A run for a day that is run again writes the same keys: the newest row of a key counts.

CREATE TABLE forecasts
(
    store_id       LowCardinality(String),
    product_id     String,
    as_of          Date COMMENT 'The last day whose sales were known',
    date_key       Date COMMENT 'The day that is forecast, 1 to 7 after as_of',
    mean           Float32 COMMENT 'Units',
    variance       Float32,
    quantiles      Array(Float32) COMMENT 'At 0.005, 0.025, 0.165, 0.25, 0.5, 0.75, 0.835, 0.975, 0.995',
    model_version  UInt32,
    made_at        DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(made_at)
PARTITION BY toYYYYMM(as_of)
ORDER BY (store_id, product_id, as_of, date_key);

-- The sum of the seven days, which strays more than its days would if they were independent.
CREATE TABLE forecast_weeks
(
    store_id       LowCardinality(String),
    product_id     String,
    as_of          Date,
    mean           Float32,
    variance       Float32,
    quantiles      Array(Float32) COMMENT 'As in forecasts',
    model_version  UInt32,
    made_at        DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(made_at)
PARTITION BY toYYYYMM(as_of)
ORDER BY (store_id, product_id, as_of);

CREATE VIEW latest_forecasts AS
SELECT store_id, product_id, as_of, date_key, mean, variance, quantiles, model_version, made_at
FROM forecasts FINAL
WHERE as_of = (SELECT max(as_of) FROM forecasts);

-- The main figures that a forecast was made from; the lake holds all of them.
CREATE TABLE forecast_features
(
    store_id                LowCardinality(String),
    product_id              String,
    as_of                   Date,
    rate_7                  Float32 COMMENT 'Units a day in stock of so many days, drawn towards the item''s kind',
    rate_14                 Float32,
    rate_30                 Float32,
    rate_90                 Float32,
    days_with_sales_90      Float32,
    units_of_a_sale         Float32,
    share_in_stock_30       Float32,
    days_since_sale         Float32 COMMENT '180 is long ago, or never',
    days_listed             Float32,
    promotion               Float32 COMMENT 'Planned for the next seven days, as a share of them',
    made_at                 DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(made_at)
PARTITION BY toYYYYMM(as_of)
ORDER BY (store_id, product_id, as_of);

CREATE TABLE model_metrics
(
    model        LowCardinality(String),
    version      UInt32,
    as_of        Date COMMENT 'The last day that was looked at',
    kind         LowCardinality(String) COMMENT 'backtest, live or drift',
    metric       LowCardinality(String),
    value        Float64,
    measured_at  DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(measured_at)
ORDER BY (model, version, as_of, kind, metric);
