-- Users of a ClickHouse server, each with the least it needs. Run it as an administrator; it may be
-- run again. On a cluster add ON CLUSTER to each statement.
--
-- No password is in this file: as made here, nobody can log in as these users. Open each one with
--     ALTER USER tillstream_stream IDENTIFIED WITH sha256_password BY '…' HOST ANY;

-- `tillstream stream`: adds rows and reads them back. It cannot change or remove any.
CREATE ROLE IF NOT EXISTS tillstream_stream_role;
GRANT SELECT, INSERT ON tillstream.* TO tillstream_stream_role;
-- A start waits for inserts of an earlier stream that the server still works on.
GRANT SELECT ON system.processes TO tillstream_stream_role;

-- `tillstream provision`, `migrate`, `rebuild`, `dimensions load`, and the nights with `learn`,
-- `forecast`, `slow-movers` and `customer erase`: tables and partitions may come and go.
CREATE ROLE IF NOT EXISTS tillstream_migrator_role;
GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, ALTER, TRUNCATE,
      SELECT, INSERT ON tillstream.* TO tillstream_migrator_role;
GRANT SELECT ON system.databases TO tillstream_migrator_role;

-- `tillstream verify`, `digest` and `sql`: everything may be read, quarantine too.
CREATE ROLE IF NOT EXISTS tillstream_console_role;
GRANT SELECT ON tillstream.* TO tillstream_console_role;

-- `tillstream alerts`, the web console and the pager: they also record what people did.
CREATE ROLE IF NOT EXISTS tillstream_desk_role;
GRANT SELECT ON tillstream.* TO tillstream_desk_role;
GRANT INSERT ON tillstream.alert_actions TO tillstream_desk_role;
GRANT INSERT ON tillstream.alert_states TO tillstream_desk_role;

-- Dashboards: no original bytes of records, and no customers.
CREATE ROLE IF NOT EXISTS tillstream_reader_role;
GRANT SELECT ON tillstream.* TO tillstream_reader_role;
REVOKE SELECT ON tillstream.quarantine FROM tillstream_reader_role;
REVOKE SELECT ON tillstream.duplicates FROM tillstream_reader_role;
REVOKE SELECT(customer_id) ON tillstream.fact_sales FROM tillstream_reader_role;
REVOKE SELECT(customer_id) ON tillstream.customer_events FROM tillstream_reader_role;

-- readonly = 2 lets a client choose its settings, except these, and write nothing.
CREATE SETTINGS PROFILE IF NOT EXISTS tillstream_reader_limits SETTINGS
    readonly = 2,
    max_execution_time = 60 CONST,
    max_memory_usage = 4000000000 CONST
    TO tillstream_reader_role, tillstream_console_role;

CREATE USER IF NOT EXISTS tillstream_stream NOT IDENTIFIED HOST NONE
    DEFAULT ROLE tillstream_stream_role;
CREATE USER IF NOT EXISTS tillstream_migrator NOT IDENTIFIED HOST NONE
    DEFAULT ROLE tillstream_migrator_role;
CREATE USER IF NOT EXISTS tillstream_console NOT IDENTIFIED HOST NONE
    DEFAULT ROLE tillstream_console_role;
CREATE USER IF NOT EXISTS tillstream_desk NOT IDENTIFIED HOST NONE
    DEFAULT ROLE tillstream_desk_role;
CREATE USER IF NOT EXISTS tillstream_reader NOT IDENTIFIED HOST NONE
    DEFAULT ROLE tillstream_reader_role;
GRANT tillstream_stream_role TO tillstream_stream;
GRANT tillstream_migrator_role TO tillstream_migrator;
GRANT tillstream_console_role TO tillstream_console;
GRANT tillstream_desk_role TO tillstream_desk;
GRANT tillstream_reader_role TO tillstream_reader;
