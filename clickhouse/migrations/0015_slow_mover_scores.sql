-- How likely each shelf is to sell nothing in four weeks, beside how long its stock would last.
CREATE TABLE slow_mover_scores
(
    store_id       LowCardinality(String),
    product_id     String,
    as_of          Date COMMENT 'The last day whose sales were known',
    unsold_28      Float32 COMMENT 'Probability that none is sold in the 28 days after, while there is stock',
    model_version  UInt32 COMMENT '0: the rule that a version must beat',
    made_at        DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(made_at)
PARTITION BY toYYYYMM(as_of)
ORDER BY (store_id, product_id, as_of);

DROP VIEW slow_movers;

-- Shelves that would take longest to sell what stands on them, by the newest forecast. Slow is more
-- than 12 weeks of it, dead is slow and nothing sold for 90 days. What was not made for that day is
-- NULL.
CREATE VIEW slow_movers AS
SELECT w.store_id AS store_id, w.product_id AS product_id, s.on_hand AS on_hand,
       w.mean AS units_a_week, s.on_hand / greatest(w.mean, 0.001) AS weeks_of_cover,
       f.days_since_sale AS days_since_sale,
       multiIf(weeks_of_cover <= 12, 'moving', ifNull(f.days_since_sale, 0) < 90, 'slow',
               'dead') AS class,
       c.unsold_28 AS unsold_28, w.as_of AS as_of
FROM
(
    SELECT store_id, product_id, mean, as_of FROM forecast_weeks FINAL
    WHERE as_of = (SELECT max(as_of) FROM forecast_weeks)
) AS w
INNER JOIN (SELECT store_id, product_id, on_hand FROM current_stock) AS s
    ON s.store_id = w.store_id AND s.product_id = w.product_id
LEFT JOIN
(
    SELECT store_id, product_id, as_of, toNullable(days_since_sale) AS days_since_sale
    FROM forecast_features FINAL
    WHERE as_of = (SELECT max(as_of) FROM forecast_weeks)
) AS f ON f.store_id = w.store_id AND f.product_id = w.product_id AND f.as_of = w.as_of
LEFT JOIN
(
    SELECT store_id, product_id, as_of, toNullable(unsold_28) AS unsold_28
    FROM slow_mover_scores FINAL
    WHERE as_of = (SELECT max(as_of) FROM forecast_weeks)
) AS c ON c.store_id = w.store_id AND c.product_id = w.product_id AND c.as_of = w.as_of
WHERE s.on_hand > 0;
