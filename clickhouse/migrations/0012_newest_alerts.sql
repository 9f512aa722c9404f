-- Consoles and pagers ask twice a second what is new among all alerts there ever were.
ALTER TABLE restock_alert_history
    MODIFY SETTING deduplicate_merge_projection_mode = 'rebuild';

ALTER TABLE restock_alert_history
    ADD PROJECTION by_recording (SELECT alert_id, version, recorded_at ORDER BY recorded_at);
