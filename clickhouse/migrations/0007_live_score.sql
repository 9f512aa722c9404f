-- What the live score is made from and tells beside the risk, and where stock and its books differ.

-- Goods that came to a shelf: which orders are done, what is fresh, when trucks come.
CREATE TABLE deliveries
(
    store_id    LowCardinality(String),
    product_id  String,
    event_time  DateTime64(3, 'UTC'),
    event_key   FixedString(16),
    reason      LowCardinality(String) COMMENT 'delivery or transfer_in',
    units       Int32
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (store_id, product_id, event_time, event_key);

CREATE MATERIALIZED VIEW deliveries_feed TO deliveries AS
SELECT store_id, product_id, event_time, event_key, reason, quantity_change AS units
FROM fact_inventory
WHERE reason IN ('delivery', 'transfer_in') AND quantity_change > 0;

TRUNCATE TABLE deliveries;

INSERT INTO deliveries (store_id, product_id, event_time, event_key, reason, units)
SELECT store_id, product_id, event_time, event_key, reason, quantity_change AS units
FROM fact_inventory
WHERE reason IN ('delivery', 'transfer_in') AND quantity_change > 0;

ALTER TABLE demand_belief ADD COLUMN IF NOT EXISTS
    first_seen DateTime64(3, 'UTC') DEFAULT as_of COMMENT 'First report of the shelf';

ALTER TABLE stockout_risk_history
    ADD COLUMN IF NOT EXISTS expected_lost_units Float64 COMMENT 'Asked for in vain before an order placed now arrives',
    ADD COLUMN IF NOT EXISTS low_confidence LowCardinality(String) COMMENT 'What stands on a default: lead time, cost, price, history; empty when nothing',
    ADD COLUMN IF NOT EXISTS evidence_since DateTime64(3, 'UTC') COMMENT 'Sales since then are the evidence',
    ADD COLUMN IF NOT EXISTS arrives_at DateTime64(3, 'UTC') COMMENT 'When an order placed now arrives, unless it is late',
    ADD COLUMN IF NOT EXISTS horizon_days Float64 COMMENT 'Days of demand until then',
    ADD COLUMN IF NOT EXISTS late_share Float64 COMMENT 'How often the supplier is late',
    ADD COLUMN IF NOT EXISTS held_up_days Float64 COMMENT 'For how long the supplier has delivered nothing; 0: it delivers',
    ADD COLUMN IF NOT EXISTS coming_units Int32 COMMENT 'On their way, due before then',
    ADD COLUMN IF NOT EXISTS next_receipt_at Nullable(DateTime64(3, 'UTC')) COMMENT 'When the first of them is due',
    ADD COLUMN IF NOT EXISTS spoilt_risk Float64 COMMENT 'The risk by goods that must be thrown away, alone',
    ADD COLUMN IF NOT EXISTS promotion_boost Float64 DEFAULT 1 COMMENT 'How much more it sells by the promotion it is in';

ALTER TABLE stockout_risk
    ADD COLUMN IF NOT EXISTS expected_lost_units Float64,
    ADD COLUMN IF NOT EXISTS low_confidence LowCardinality(String),
    ADD COLUMN IF NOT EXISTS evidence_since DateTime64(3, 'UTC'),
    ADD COLUMN IF NOT EXISTS arrives_at DateTime64(3, 'UTC'),
    ADD COLUMN IF NOT EXISTS horizon_days Float64,
    ADD COLUMN IF NOT EXISTS late_share Float64,
    ADD COLUMN IF NOT EXISTS held_up_days Float64,
    ADD COLUMN IF NOT EXISTS coming_units Int32,
    ADD COLUMN IF NOT EXISTS next_receipt_at Nullable(DateTime64(3, 'UTC')),
    ADD COLUMN IF NOT EXISTS spoilt_risk Float64,
    ADD COLUMN IF NOT EXISTS promotion_boost Float64 DEFAULT 1;

DROP VIEW stockout_risk_feed;

CREATE MATERIALIZED VIEW stockout_risk_feed TO stockout_risk AS
SELECT * FROM stockout_risk_history;

-- Shelves that have sold nothing for so long that their stock may not be there: judged at night.
CREATE TABLE phantom_stock
(
    as_of         DateTime64(3, 'UTC'),
    store_id      LowCardinality(String),
    product_id    String,
    on_hand       Int32 COMMENT 'What the books say',
    probability   Float64 COMMENT 'P(nothing is there | nothing was sold for so long)',
    silent_days   Float64 COMMENT 'Days of demand since the last sale, with stock by the books',
    daily_units   Float64 COMMENT 'What it sold a day before that',
    last_sold_at  Nullable(DateTime64(3, 'UTC')),
    judged_at     DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(judged_at)
ORDER BY (as_of, store_id, product_id);

-- By store, product and local day, from all movements in the order of the till: whatever order they
-- came in, and however late. `variance_units` is recorded less replayed stock: how far reports lie
-- from the report before them and their own movement. A first report says what the books hold, not
-- what was found.
CREATE VIEW stock_variance_daily AS
SELECT store_id, product_id, date_key,
       argMax(quantity_on_hand, place) AS closing_on_hand,
       sum(toInt64(quantity_change)) AS moved_units,
       sum(jump) AS variance_units,
       sum(abs(jump)) AS variance_units_absolute,
       sum(gap) AS missing_movements,
       countIf(is_count) AS counts,
       sumIf(toInt64(quantity_change), is_count) AS count_difference_units,
       -sumIf(toInt64(quantity_change), is_count OR reason = 'shrinkage') AS shrinkage_units,
       countIf(quantity_on_hand < 0) AS negative_reports
FROM
(
    SELECT store_id, product_id, date_key, reason, quantity_on_hand, quantity_change,
           reason = 'count' AND number > 1 AS is_count,
           (sequence, event_time, offset) AS place,
           if(number = 1, 0, toInt64(quantity_on_hand) - quantity_change - before) AS jump,
           if(number = 1 OR sequence = 0, 0, greatest(sequence - previous - 1, 0)) AS gap
    FROM
    (
        SELECT store_id, product_id, date_key, reason, quantity_on_hand, quantity_change, sequence,
               event_time, offset,
               row_number() OVER w AS number,
               lagInFrame(quantity_on_hand) OVER w AS before,
               lagInFrame(sequence) OVER w AS previous
        FROM fact_inventory
        WINDOW w AS (PARTITION BY store_id, product_id ORDER BY sequence, event_time, offset
                     ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
)
GROUP BY store_id, product_id, date_key;
