-- What people do to alerts, and what the alerts they see need besides.

-- What is not sold any more wakes nobody.
ALTER TABLE dim_product ADD COLUMN IF NOT EXISTS
    discontinued_on Nullable(Date) COMMENT 'Not sold any more from this day on';

ALTER TABLE dim_store ADD COLUMN IF NOT EXISTS
    closed_on Nullable(Date) COMMENT 'Closed for good from this day on';

CREATE TABLE delisted_items
(
    store_id      LowCardinality(String),
    product_id    String,
    delisted_on   Nullable(Date) COMMENT 'This store does not sell it from this day on; NULL: it does again',
    loaded_at     DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(loaded_at)
ORDER BY (store_id, product_id);

ALTER TABLE restock_alert_history
    ADD COLUMN IF NOT EXISTS product_name String,
    ADD COLUMN IF NOT EXISTS region LowCardinality(String),
    ADD COLUMN IF NOT EXISTS category LowCardinality(String),
    ADD COLUMN IF NOT EXISTS supplier_id String,
    ADD COLUMN IF NOT EXISTS supplier_name String,
    ADD COLUMN IF NOT EXISTS severity LowCardinality(String) COMMENT 'critical, high, medium or low',
    ADD COLUMN IF NOT EXISTS low_confidence Bool COMMENT 'Defaults stand in for some of the data',
    ADD COLUMN IF NOT EXISTS incident_id String COMMENT 'Alerts with one cause share it; empty for an alert of its own',
    ADD COLUMN IF NOT EXISTS daily_units Float64,
    ADD COLUMN IF NOT EXISTS lead_time_days Float64,
    ADD COLUMN IF NOT EXISTS days_of_cover Float64,
    ADD COLUMN IF NOT EXISTS empty_p50_days Float64;

ALTER TABLE restock_alerts_published
    ADD COLUMN IF NOT EXISTS partition Int32,
    ADD COLUMN IF NOT EXISTS offset Int64 DEFAULT -1 COMMENT 'Where in the topic it is; -1 is not known';

DROP VIEW restock_alerts;

CREATE VIEW restock_alerts AS
SELECT *
FROM restock_alert_history FINAL
ORDER BY version DESC
LIMIT 1 BY alert_id;

-- Every action of the topic retail-alert-actions, and what was decided about it. Whoever reads the
-- topic may write these rows: all write the same, and twice is harmless.
CREATE TABLE alert_actions
(
    alert_id          String,
    topic_id          LowCardinality(String),
    partition         Int32,
    offset            Int64,
    arrival           DateTime64(3, 'UTC'),
    action_id         String,
    kind              LowCardinality(String),
    actor             LowCardinality(String),
    at                DateTime64(3, 'UTC') COMMENT 'By the actor''s clock',
    based_on          Nullable(Int32) COMMENT 'The revision that the actor had seen',
    seen              Nullable(Int32) COMMENT 'The step of the detector that the actor had seen',
    comment           Nullable(String),
    until             Nullable(DateTime64(3, 'UTC')),
    assignee          Nullable(String),
    level             Nullable(Int32),
    undoes            Nullable(String),
    outcome           LowCardinality(String) COMMENT 'accepted, refused, repeated, waiting or unreadable',
    reason            String COMMENT 'Why it was not accepted',
    state             LowCardinality(String) COMMENT 'Of the alert, after it',
    revision          Int32,
    owner             Nullable(String),
    escalation_level  Int32,
    is_decided        UInt8 COMMENT 'A decision replaces waiting for one',
    decided_at        DateTime64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(is_decided)
ORDER BY (alert_id, topic_id, partition, offset);

-- What people have made of an alert, as of its newest record that was folded. Alerts that nobody
-- has touched are not in it.
CREATE TABLE alert_states
(
    alert_id          String,
    steps             UInt32 COMMENT 'Records that were folded; the most is the newest',
    state             LowCardinality(String),
    revision          Int32,
    owner             Nullable(String),
    snoozed_until     Nullable(DateTime64(3, 'UTC')),
    escalation_level  Int32,
    resolved_by       Nullable(String),
    resolution        Nullable(String),
    updated_at        DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(steps)
ORDER BY alert_id;

-- Every alert as the desk shows it.
CREATE VIEW alert_desk AS
SELECT d.alert_id AS alert_id, d.version AS version, d.store_id AS store_id, d.region AS region,
       d.product_id AS product_id, d.product_name AS product_name, d.category AS category,
       d.supplier_id AS supplier_id, d.incident_id AS incident_id,
       multiIf(d.state = 'resolved', 'resolved', s.alert_id = '', 'open',
               s.state = 'snoozed' AND s.snoozed_until <= now64(3), 'open', s.state) AS state,
       d.severity AS severity, d.risk AS risk, d.on_hand AS on_hand,
       d.days_of_cover AS days_of_cover, d.empty_p50_days AS empty_p50_days,
       d.expected_lost_margin AS expected_lost_margin, d.low_confidence AS low_confidence,
       d.explanation AS explanation, d.opened_at AS opened_at, d.at AS at,
       s.revision AS revision, s.owner AS owner, s.snoozed_until AS snoozed_until,
       s.escalation_level AS escalation_level, s.resolved_by AS resolved_by,
       s.resolution AS resolution, s.updated_at AS acted_at
FROM restock_alerts AS d
LEFT JOIN (SELECT * FROM alert_states FINAL) AS s ON s.alert_id = d.alert_id;
