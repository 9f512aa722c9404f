-- What dashboards read: narrow views with names that stay. Every column says what it is, and
-- `complete_until` says up to which arrival everything is in: of the Kafka partitions that the
-- stream reads now, the one that is furthest behind.
-- Rollups of the nights and forecasts join here as views of their own (bi_daily_*, bi_forecast*).

-- Days of a store, and of a product, are asked for by everybody. As projections they are part of
-- the facts' own parts: always equal to them, and nothing to repair.
ALTER TABLE fact_sales ADD PROJECTION store_days
(
    SELECT date_key, store_id, topic_id, partition,
           sum(quantity), sum(revenue), sum(cost), sum(profit), count(), max(arrival)
    GROUP BY date_key, store_id, topic_id, partition
);

ALTER TABLE fact_sales MATERIALIZE PROJECTION store_days;

ALTER TABLE fact_sales ADD PROJECTION product_days
(
    SELECT date_key, product_id,
           sum(quantity), sum(revenue), sum(cost), sum(profit), count()
    GROUP BY date_key, product_id
);

ALTER TABLE fact_sales MATERIALIZE PROJECTION product_days;

-- Rows may still be deleted one by one, such as a customer's: the sums follow.
ALTER TABLE fact_sales MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild';

-- Who may see which stores: of a server's row policies, and of Power BI's roles.
CREATE TABLE store_access
(
    user_name  String COMMENT 'As the person signs in: to ClickHouse, or to Power BI by e-mail',
    scope      LowCardinality(String) COMMENT 'store, region or chain',
    value      String COMMENT 'The store''s id, or the region; empty for the chain',
    loaded_at  DateTime64(6, 'UTC') DEFAULT now64(6),
    CONSTRAINT known_scope CHECK scope IN ('store', 'region', 'chain')
)
ENGINE = ReplacingMergeTree(loaded_at)
ORDER BY (user_name, scope, value);

CREATE VIEW live_topics AS
SELECT topic, argMax(topic_id, committed_at) AS topic_id
FROM stream_commits
WHERE query = 'live'
GROUP BY topic;

CREATE VIEW sales_complete_until AS
SELECT min(newest) AS complete_until
FROM
(
    SELECT partition, max(arrival) AS newest
    FROM fact_sales
    WHERE date_key >= (SELECT max(date_key) FROM fact_sales) - 1
      AND topic_id IN (SELECT topic_id FROM live_topics)
    GROUP BY partition
);

CREATE VIEW movements_complete_until AS
SELECT min(newest) AS complete_until
FROM
(
    SELECT partition, max(arrival) AS newest
    FROM fact_inventory
    WHERE date_key >= (SELECT max(date_key) FROM fact_inventory) - 1
      AND topic_id IN (SELECT topic_id FROM live_topics)
    GROUP BY partition
);

CREATE VIEW bi_freshness
(
    feed            String COMMENT 'sales or stock movements',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in; 1970 when there is nothing'
) AS
SELECT 'sales' AS feed, complete_until FROM sales_complete_until
UNION ALL
SELECT 'stock movements' AS feed, complete_until FROM movements_complete_until
COMMENT 'Up to when the data is complete, one row a feed';

CREATE VIEW bi_dates
(
    date         Date COMMENT 'A calendar day',
    year         UInt16 COMMENT 'Calendar year',
    quarter      UInt8 COMMENT '1 to 4',
    month        UInt8 COMMENT '1 to 12',
    iso_week     UInt8 COMMENT 'ISO week, 1 to 53',
    day_of_week  UInt8 COMMENT '1 is Monday',
    is_weekend   Bool COMMENT 'Saturday or Sunday'
) AS
SELECT date_key AS date, year, quarter, month, iso_week, day_of_week, is_weekend
FROM dim_date FINAL
COMMENT 'Calendar days from 2000 to 2049';

CREATE VIEW bi_stores
(
    store_id   String COMMENT 'The store''s id, as its tills send it',
    store      String COMMENT 'Name of the store, or its id where none is known',
    region     String COMMENT 'Region of the store; unknown where none is given',
    time_zone  String COMMENT 'IANA name; the store''s days begin at its own midnight'
) AS
SELECT store_id, if(store_name = '', store_id, store_name) AS store,
       if(region = '', 'unknown', region) AS region, time_zone
FROM dim_store FINAL
COMMENT 'Stores';

CREATE VIEW bi_products
(
    product_id       String COMMENT 'The product''s id, as tills send it',
    product          String COMMENT 'Name of the product, or its id where none is known',
    sku              String COMMENT 'Stock keeping unit',
    department       String COMMENT 'Top of the hierarchy',
    category         String COMMENT 'Second level; unknown where none is given',
    sub_category     String COMMENT 'Third level',
    brand            String COMMENT 'Brand',
    supplier_id      String COMMENT 'Who delivers it: bi_suppliers',
    shelf_life_days  Nullable(Int32) COMMENT 'Days until it spoils; empty when it does not'
) AS
SELECT product_id, if(product_name = '', product_id, product_name) AS product, sku, department,
       if(category = '', 'unknown', category) AS category, sub_category, brand, supplier_id,
       shelf_life_days
FROM dim_product FINAL
COMMENT 'Products';

CREATE VIEW bi_suppliers
(
    supplier_id     String COMMENT 'The supplier''s id',
    supplier        String COMMENT 'Name of the supplier',
    lead_time_days  Float64 COMMENT 'Days from order to delivery, as agreed',
    late_share      Nullable(Float64) COMMENT 'Share of orders that came late, as learned; empty when nothing was learned'
) AS
WITH
    (SELECT argMax(late_by_supplier, learned_at) FROM demand_model) AS late,
    (SELECT argMax(late_share, learned_at) FROM demand_model) AS late_of_all,
    (SELECT count() FROM demand_model) AS learnings
SELECT supplier_id, supplier_name AS supplier, lead_time_days,
       if(learnings = 0, NULL, if(mapContains(late, supplier_id), late[supplier_id], late_of_all)) AS late_share
FROM dim_supplier FINAL
COMMENT 'Suppliers and how reliable they are';

CREATE VIEW bi_access
(
    user_name  String COMMENT 'As the person signs in',
    store_id   String COMMENT 'A store that person may see'
) AS
SELECT DISTINCT a.user_name AS user_name, s.store_id AS store_id
FROM (SELECT user_name, scope, value FROM store_access FINAL) AS a
CROSS JOIN (SELECT store_id, region FROM dim_store FINAL) AS s
WHERE (a.scope = 'chain')
   OR (a.scope = 'region' AND a.value = s.region)
   OR (a.scope = 'store' AND a.value = s.store_id)
COMMENT 'Who may see which stores, one row a person and store';

CREATE VIEW bi_sales
(
    date            Date COMMENT 'Date of the sale in the store''s own time zone',
    sold_at         DateTime64(3, 'UTC') COMMENT 'Moment of the sale',
    store_id        String COMMENT 'Where it was sold: bi_stores',
    product_id      String COMMENT 'What was sold: bi_products',
    transaction_id  String COMMENT 'The receipt',
    units           Int32 COMMENT 'Units sold; negative is a return',
    revenue         Decimal(18, 4) COMMENT 'What was paid for the line',
    cost            Decimal(18, 4) COMMENT 'What the goods cost; from the department''s margin where no unit cost is known',
    profit          Decimal(18, 4) COMMENT 'Revenue less cost',
    discount        Nullable(Decimal(18, 4)) COMMENT 'What was taken off the price; empty when the till does not say',
    promotion_id    Nullable(String) COMMENT 'The promotion; empty without one',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in'
) AS
SELECT date_key AS date, event_time AS sold_at, store_id, product_id, transaction_id,
       quantity AS units, revenue, cost, profit, discount, promotion_id,
       assumeNotNull((SELECT complete_until FROM sales_complete_until)) AS complete_until
FROM fact_sales
COMMENT 'Sale lines, each counted once. Always ask for a range of dates';

CREATE VIEW bi_sales_by_store
(
    date            Date COMMENT 'Date in the store''s own time zone',
    store_id        String COMMENT 'Where it was sold: bi_stores',
    units           Int64 COMMENT 'Units sold less units returned',
    revenue         Decimal(38, 4) COMMENT 'What was paid',
    cost            Decimal(38, 4) COMMENT 'What the goods cost',
    profit          Decimal(38, 4) COMMENT 'Revenue less cost',
    lines           UInt64 COMMENT 'Sale lines',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in'
) AS
SELECT date_key AS date, store_id, sum(quantity) AS units, sum(revenue) AS revenue,
       sum(cost) AS cost, sum(profit) AS profit, count() AS lines,
       assumeNotNull((SELECT complete_until FROM sales_complete_until)) AS complete_until
FROM fact_sales
GROUP BY date_key, store_id
COMMENT 'Sales by day and store';

CREATE VIEW bi_sales_by_product
(
    date            Date COMMENT 'Date in the store''s own time zone',
    store_id        String COMMENT 'Where it was sold: bi_stores',
    product_id      String COMMENT 'What was sold: bi_products',
    units           Int64 COMMENT 'Units sold less units returned',
    revenue         Decimal(38, 4) COMMENT 'What was paid',
    cost            Decimal(38, 4) COMMENT 'What the goods cost',
    profit          Decimal(38, 4) COMMENT 'Revenue less cost',
    lines           UInt64 COMMENT 'Sale lines',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in'
) AS
SELECT date_key AS date, store_id, product_id, sum(quantity) AS units, sum(revenue) AS revenue,
       sum(cost) AS cost, sum(profit) AS profit, count() AS lines,
       assumeNotNull((SELECT complete_until FROM sales_complete_until)) AS complete_until
FROM fact_sales
GROUP BY date_key, store_id, product_id
COMMENT 'Sales by day, store and product. Always ask for a range of dates';

CREATE VIEW bi_sales_by_hour
(
    date            Date COMMENT 'Date in the store''s own time zone',
    hour            DateTime('UTC') COMMENT 'Start of the hour',
    store_id        String COMMENT 'Where it was sold: bi_stores',
    units           Int64 COMMENT 'Units sold less units returned',
    revenue         Decimal(38, 4) COMMENT 'What was paid',
    profit          Decimal(38, 4) COMMENT 'Revenue less cost',
    lines           UInt64 COMMENT 'Sale lines',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in'
) AS
SELECT date_key AS date, toStartOfHour(window_start) AS hour, store_id, sum(quantity) AS units,
       sum(revenue) AS revenue, sum(profit) AS profit, count() AS lines,
       assumeNotNull((SELECT complete_until FROM sales_complete_until)) AS complete_until
FROM fact_sales
GROUP BY date_key, hour, store_id
COMMENT 'Sales by hour and store. Always ask for a range of dates';

CREATE VIEW bi_velocity
(
    window_start    DateTime('UTC') COMMENT 'Start of the five minutes',
    store_id        String COMMENT 'Where it was sold: bi_stores',
    product_id      String COMMENT 'What was sold: bi_products',
    units           Int64 COMMENT 'Units sold less units returned',
    revenue         Decimal(38, 4) COMMENT 'What was paid',
    lines           Int64 COMMENT 'Sale lines',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in'
) AS
SELECT window_start, store_id, product_id, sum(units) AS units, sum(revenue) AS revenue,
       sum(lines) AS lines, assumeNotNull((SELECT complete_until FROM sales_complete_until)) AS complete_until
FROM velocity_5m_sums
GROUP BY store_id, product_id, window_start
COMMENT 'How fast things sell, in windows of five minutes';

CREATE VIEW bi_stock
(
    store_id        String COMMENT 'Where it lies: bi_stores',
    product_id      String COMMENT 'What lies there: bi_products',
    on_hand         Int32 COMMENT 'Units on the shelf by its books; below 0 is a mistake in them',
    updated_at      DateTime64(3, 'UTC') COMMENT 'When the shelf last moved',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in'
) AS
SELECT store_id, product_id, on_hand, updated_at,
       assumeNotNull((SELECT complete_until FROM movements_complete_until)) AS complete_until
FROM current_stock
COMMENT 'What is on the shelves now';

CREATE VIEW bi_risk
(
    store_id              String COMMENT 'Store: bi_stores',
    product_id            String COMMENT 'Product: bi_products',
    risk                  Float64 COMMENT 'Probability that the shelf empties before an order placed now arrives',
    on_hand               Int32 COMMENT 'Units on the shelf when it was scored',
    daily_units           Float64 COMMENT 'Units it is believed to sell a day',
    days_of_cover         Float64 COMMENT 'Stock divided by units a day',
    empty_in_days         Float64 COMMENT 'Days until it is empty, as likely earlier as later',
    lead_time_days        Float64 COMMENT 'Days from order to delivery',
    reorder_point         Int32 COMMENT 'Order when there is this much or less',
    safety_stock          Float64 COMMENT 'Part of the reorder point that covers chance',
    evidence_units        Float64 COMMENT 'Units sold that the belief rests on, beside what was known before',
    evidence_days         Float64 COMMENT 'Days of sales that the belief rests on',
    dispersion            Float64 COMMENT 'Variance over mean of demand',
    expected_lost_margin  Decimal(18, 4) COMMENT 'Margin likely lost before a delivery can come',
    as_of                 DateTime64(3, 'UTC') COMMENT 'Moment of the score',
    complete_until        DateTime64(3, 'UTC') COMMENT 'Every movement that arrived before this is stored; scoring follows within seconds'
) AS
SELECT store_id, product_id, risk, on_hand, daily_units, days_of_cover,
       empty_p50_days AS empty_in_days, lead_time_days, reorder_point, safety_stock,
       evidence_units, evidence_days, dispersion, expected_lost_margin, as_of,
       assumeNotNull((SELECT complete_until FROM movements_complete_until)) AS complete_until
FROM stockout_risk FINAL
COMMENT 'The newest stock-out risk of each shelf, and what drives it';

CREATE VIEW bi_risk_history
(
    as_of           DateTime64(3, 'UTC') COMMENT 'Moment of the score',
    store_id        String COMMENT 'Store: bi_stores',
    product_id      String COMMENT 'Product: bi_products',
    risk            Float64 COMMENT 'Probability that the shelf empties before an order placed then arrives',
    on_hand         Int32 COMMENT 'Units on the shelf then',
    daily_units     Float64 COMMENT 'Units it was believed to sell a day',
    lead_time_days  Float64 COMMENT 'Days from order to delivery',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Every movement that arrived before this is stored; scoring follows within seconds'
) AS
SELECT as_of, store_id, product_id, risk, on_hand, daily_units, lead_time_days,
       assumeNotNull((SELECT complete_until FROM movements_complete_until)) AS complete_until
FROM stockout_risk_history
COMMENT 'Every score of the last 90 days';

CREATE VIEW bi_alerts
(
    alert_id              String COMMENT 'The alert',
    store_id              String COMMENT 'Store: bi_stores',
    product_id            String COMMENT 'Product: bi_products',
    state                 String COMMENT 'opened, updated or resolved',
    risk                  Float64 COMMENT 'Stock-out risk at its newest step',
    on_hand               Int32 COMMENT 'Units on the shelf at its newest step',
    expected_lost_margin  Decimal(18, 4) COMMENT 'Margin likely lost before a delivery can come',
    explanation           String COMMENT 'Why, in words',
    opened_at             DateTime64(3, 'UTC') COMMENT 'When it opened',
    changed_at            DateTime64(3, 'UTC') COMMENT 'When its newest step was',
    complete_until        DateTime64(3, 'UTC') COMMENT 'Every movement that arrived before this is stored; alerts follow within seconds'
) AS
SELECT alert_id, store_id, product_id, state, risk, on_hand, expected_lost_margin, explanation,
       opened_at, at AS changed_at,
       assumeNotNull((SELECT complete_until FROM movements_complete_until)) AS complete_until
FROM restock_alerts
COMMENT 'Restock alerts, each at its newest step';

CREATE VIEW bi_stock_movements
(
    date            Date COMMENT 'Date in the store''s own time zone',
    moved_at        DateTime64(3, 'UTC') COMMENT 'Moment of the movement',
    store_id        String COMMENT 'Store: bi_stores',
    product_id      String COMMENT 'Product: bi_products',
    reason          String COMMENT 'sale, return, delivery, transfer_in, transfer_out, count, shrinkage or adjustment',
    units           Int32 COMMENT 'Change in units; below 0 leaves the shelf',
    on_hand         Int32 COMMENT 'Units on the shelf afterwards, by its books',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in'
) AS
SELECT date_key AS date, event_time AS moved_at, store_id, product_id, reason,
       quantity_change AS units, quantity_on_hand AS on_hand,
       assumeNotNull((SELECT complete_until FROM movements_complete_until)) AS complete_until
FROM fact_inventory
COMMENT 'Stock movements, each counted once. Always ask for a range of dates';

CREATE VIEW bi_stockouts
(
    store_id        String COMMENT 'Store: bi_stores',
    product_id      String COMMENT 'Product: bi_products',
    empty_from      DateTime64(3, 'UTC') COMMENT 'When the shelf went empty by its books',
    empty_until     Nullable(DateTime64(3, 'UTC')) COMMENT 'When it was filled again; empty while it is not',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived before this is in'
) AS
SELECT store_id, product_id, empty_from, empty_until,
       assumeNotNull((SELECT complete_until FROM movements_complete_until)) AS complete_until
FROM
(
    SELECT store_id, product_id, event_time AS empty_from, is_empty,
           leadInFrame(toNullable(event_time)) OVER (
               PARTITION BY store_id, product_id ORDER BY event_time, sequence
               ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS empty_until
    FROM shelf_turns FINAL
)
WHERE is_empty
COMMENT 'Times in which a shelf was empty by its books';

CREATE VIEW bi_orders
(
    order_id     String COMMENT 'The chain''s own number of the order',
    store_id     String COMMENT 'Where it goes: bi_stores',
    product_id   String COMMENT 'What was ordered: bi_products',
    units        Int32 COMMENT 'Units ordered',
    ordered_at   DateTime64(3, 'UTC') COMMENT 'When it was ordered',
    expected_at  DateTime64(3, 'UTC') COMMENT 'When the supplier promised it',
    complete_until  DateTime64(6, 'UTC') COMMENT 'When the order book was last loaded'
) AS
SELECT order_id, store_id, product_id, units, ordered_at, expected_at,
       assumeNotNull((SELECT max(loaded_at) FROM purchase_orders)) AS complete_until
FROM purchase_orders FINAL
COMMENT 'Orders placed with suppliers, as loaded by tillstream dimensions load';

CREATE VIEW bi_price_changes
(
    effective_from  DateTime64(3, 'UTC') COMMENT 'From when on it counts',
    effective_to    Nullable(DateTime64(3, 'UTC')) COMMENT 'Until when; empty when it stays',
    store_id        String COMMENT 'Store: bi_stores',
    product_id      String COMMENT 'Product: bi_products',
    old_price       Decimal(18, 4) COMMENT 'Price before',
    new_price       Decimal(18, 4) COMMENT 'Price from then on',
    reason          String COMMENT 'Why, as the till says',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived at the tills'' feed of sales before this is in; price changes are stored with it'
) AS
SELECT effective_from, effective_to, store_id, product_id, old_price, new_price, reason,
       assumeNotNull((SELECT complete_until FROM sales_complete_until)) AS complete_until
FROM price_changes
COMMENT 'Price changes, each counted once';

CREATE VIEW bi_anomalies
(
    event_time  DateTime64(3, 'UTC') COMMENT 'When it happened',
    kind        String COMMENT 'What is unusual: quantity, amount or price',
    store_id    String COMMENT 'Store: bi_stores',
    product_id  String COMMENT 'Product: bi_products',
    value       Float64 COMMENT 'What was sent',
    expected    Float64 COMMENT 'The upper bound that it exceeded',
    detail      String COMMENT 'In words',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Every sale that arrived before this was looked at'
) AS
SELECT event_time, kind, store_id, product_id, value, expected, detail,
       assumeNotNull((SELECT complete_until FROM sales_complete_until)) AS complete_until
FROM anomalies FINAL
COMMENT 'Sales that are unusual for their product; they count all the same';

CREATE VIEW bi_rejects
(
    hour            DateTime('UTC') COMMENT 'Hour of arrival',
    outcome         String COMMENT 'duplicate or refused',
    topic           String COMMENT 'The Kafka topic',
    reason          String COMMENT 'Why it was refused; empty for a duplicate',
    records         UInt64 COMMENT 'How many records',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Everything that arrived at the feed of sales before this is in'
) AS
SELECT hour, outcome, topic, reason, count() AS records,
       assumeNotNull((SELECT complete_until FROM sales_complete_until)) AS complete_until
FROM
(
    SELECT toStartOfHour(arrival) AS hour, 'duplicate' AS outcome, topic, '' AS reason FROM duplicates
    UNION ALL
    SELECT toStartOfHour(arrival), 'refused', topic, reason FROM quarantine
)
GROUP BY hour, outcome, topic, reason
COMMENT 'Records that do not count, and why';

CREATE VIEW bi_commits
(
    query         String COMMENT 'live are the tables, watch risk and alerts, lake the archive',
    topic         String COMMENT 'The Kafka topic',
    partition     Int32 COMMENT 'Its partition',
    next_offset   Int64 COMMENT 'Everything below is stored',
    committed_at  DateTime64(6, 'UTC') COMMENT 'When that was written'
) AS
SELECT query, topic, partition, next_offset, committed_at
FROM stream_commits FINAL
COMMENT 'How far each part of the stream has got, by Kafka partition';

CREATE VIEW bi_risk_outcomes
(
    as_of           DateTime64(3, 'UTC') COMMENT 'Moment of the score',
    store_id        String COMMENT 'Store: bi_stores',
    product_id      String COMMENT 'Product: bi_products',
    risk            Float64 COMMENT 'What was predicted: probability of emptying within the lead time',
    went_empty      Bool COMMENT 'What came: the shelf went empty by its books within the lead time',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Every movement that arrived before this is in'
) AS
SELECT h.as_of AS as_of, h.store_id AS store_id, h.product_id AS product_id, any(h.risk) AS risk,
       countIf(t.event_time > h.as_of
               AND t.event_time <= h.as_of + toIntervalSecond(toInt64(h.lead_time_days * 86400))) > 0 AS went_empty,
       assumeNotNull((SELECT complete_until FROM movements_complete_until)) AS complete_until
FROM
(
    SELECT as_of, toString(store_id) AS store_id, product_id, risk, lead_time_days
    FROM stockout_risk_history
    WHERE on_hand > 0 AND as_of + toIntervalSecond(toInt64(lead_time_days * 86400))
          <= (SELECT complete_until FROM movements_complete_until)
) AS h
LEFT JOIN
(
    SELECT toString(store_id) AS store_id, product_id, event_time FROM shelf_turns FINAL WHERE is_empty
) AS t ON t.store_id = h.store_id AND t.product_id = h.product_id
GROUP BY as_of, store_id, product_id
COMMENT 'Scores of shelves that were not empty, beside what came of them; only those whose lead time is over';

CREATE VIEW bi_demand_outcomes
(
    date            Date COMMENT 'UTC day',
    store_id        String COMMENT 'Store: bi_stores',
    product_id      String COMMENT 'Product: bi_products',
    predicted       Float64 COMMENT 'Units a day, as the last score before that day believed',
    sold            Int64 COMMENT 'Units sold that day; less than was wanted when the shelf was empty',
    complete_until  DateTime64(3, 'UTC') COMMENT 'Every sale that arrived before this is in'
) AS
SELECT s.date AS date, s.store_id AS store_id, s.product_id AS product_id, s.daily_units AS predicted,
       coalesce(d.units, 0) AS sold,
       assumeNotNull((SELECT complete_until FROM sales_complete_until)) AS complete_until
FROM
(
    SELECT toDate(as_of) + day AS date, toString(store_id) AS store_id, product_id,
           argMax(daily_units, as_of) AS daily_units
    FROM stockout_risk_history
    ARRAY JOIN [0, 1, 2, 3, 4, 5, 6] AS day
    WHERE toDateTime64(toDate(as_of) + day, 3, 'UTC') >= as_of
      AND toDateTime64(toDate(as_of) + day + 1, 3, 'UTC')
          <= (SELECT complete_until FROM sales_complete_until) + toIntervalMinute(5)
    GROUP BY date, store_id, product_id
) AS s
LEFT JOIN
(
    SELECT day AS date, toString(store_id) AS store_id, product_id, sum(units) AS units
    FROM item_sales_daily
    GROUP BY date, store_id, product_id
) AS d ON d.date = s.date AND d.store_id = s.store_id AND d.product_id = s.product_id
COMMENT 'Belief of demand beside what was sold, for a week after each score';

CREATE VIEW bi_models
(
    learned_at   DateTime64(6, 'UTC') COMMENT 'When it was learned',
    model        String COMMENT 'What was learned',
    as_of        DateTime64(3, 'UTC') COMMENT 'Sales before this are in it',
    elasticity   Float64 COMMENT 'Demand answers to a price ratio r by r to the power of minus this',
    late_share   Float64 COMMENT 'Share of orders that come late',
    late_days    Float64 COMMENT 'By how many days, when they do'
) AS
SELECT learned_at, 'demand belief' AS model, as_of, elasticity, late_share, late_days
FROM demand_model FINAL
COMMENT 'What was learned at night, one row a learning';
