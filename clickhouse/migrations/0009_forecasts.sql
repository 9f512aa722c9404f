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

-- Shelves that would take longest to sell what stands on them, by the newest forecast. Slow is more
-- than 12 weeks of it, dead is slow and nothing sold for 90 days.
CREATE VIEW slow_movers AS
SELECT w.store_id AS store_id, w.product_id AS product_id, s.on_hand AS on_hand,
       w.mean AS units_a_week, s.on_hand / greatest(w.mean, 0.001) AS weeks_of_cover,
       f.days_since_sale AS days_since_sale,
       multiIf(weeks_of_cover <= 12, 'moving', f.days_since_sale < 90, 'slow', 'dead') AS class,
       w.as_of AS as_of
FROM
(
    SELECT store_id, product_id, mean, as_of FROM forecast_weeks FINAL
    WHERE as_of = (SELECT max(as_of) FROM forecast_weeks)
) AS w
INNER JOIN (SELECT store_id, product_id, on_hand FROM current_stock) AS s
    ON s.store_id = w.store_id AND s.product_id = w.product_id
LEFT JOIN
(
    SELECT store_id, product_id, as_of, days_since_sale FROM forecast_features FINAL
) AS f ON f.store_id = w.store_id AND f.product_id = w.product_id AND f.as_of = w.as_of
WHERE s.on_hand > 0;

-- Days on which a shelf sold what its forecast of the day before called one in 200, or rarer.
CREATE VIEW forecast_surprises AS
SELECT s.store_id AS store_id, s.product_id AS product_id, s.date_key AS date_key,
       s.units AS units, f.mean AS mean, f.quantiles[1] AS least, f.quantiles[9] AS most
FROM
(
    SELECT store_id, product_id, date_key, sum(quantity) AS units FROM fact_sales
    GROUP BY store_id, product_id, date_key
) AS s
INNER JOIN
(
    SELECT store_id, product_id, as_of, date_key, mean, quantiles FROM forecasts FINAL
    WHERE date_key = as_of + 1
) AS f ON f.store_id = s.store_id AND f.product_id = s.product_id AND f.date_key = s.date_key
WHERE s.units < f.quantiles[1] OR s.units > f.quantiles[9];
