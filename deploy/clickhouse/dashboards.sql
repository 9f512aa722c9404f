-- Who sees what on a ClickHouse server. Run it as an administrator, after users.sql and after
-- `tillstream migrate`; it may be run again. On a cluster add ON CLUSTER to each statement.
--
-- People are listed in tillstream.store_access (user_name, scope, value): a store, a region or the
-- chain. Whoever has the role below and no row there sees nothing. A new person:
--     INSERT INTO tillstream.store_access (user_name, scope, value) VALUES ('maria', 'store', '424');
--     CREATE USER maria IDENTIFIED WITH sha256_password BY '…' HOST ANY
--         DEFAULT ROLE tillstream_store_role SETTINGS PROFILE 'tillstream_store_limits';
--     GRANT tillstream_store_role TO maria;
-- What each of them asked: SELECT event_time, user, query FROM system.query_log WHERE user = 'maria'.

-- The views are read with the person's own rights, so what they stand on is granted too, except
-- customers and the original bytes of records.
CREATE ROLE IF NOT EXISTS tillstream_store_role;
GRANT SELECT ON tillstream.bi_dates TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_stores TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_products TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_suppliers TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_freshness TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_sales TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_sales_by_store TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_sales_by_product TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_sales_by_hour TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_velocity TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_stock TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_availability TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_risk TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_alerts TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_stock_movements TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_stockouts TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_orders TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_price_changes TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_anomalies TO tillstream_store_role;
GRANT SELECT ON tillstream.bi_demand_outcomes TO tillstream_store_role;
GRANT SELECT ON tillstream.live_topics TO tillstream_store_role;
GRANT SELECT ON tillstream.sales_complete_until TO tillstream_store_role;
GRANT SELECT ON tillstream.movements_complete_until TO tillstream_store_role;
GRANT SELECT ON tillstream.current_stock TO tillstream_store_role;
GRANT SELECT ON tillstream.restock_alerts TO tillstream_store_role;
GRANT SELECT ON tillstream.dim_date TO tillstream_store_role;
GRANT SELECT ON tillstream.dim_store TO tillstream_store_role;
GRANT SELECT ON tillstream.dim_product TO tillstream_store_role;
GRANT SELECT ON tillstream.dim_supplier TO tillstream_store_role;
GRANT SELECT ON tillstream.demand_model TO tillstream_store_role;
GRANT SELECT ON tillstream.stream_commits TO tillstream_store_role;
GRANT SELECT(sale_id, date_key, product_key, store_key, quantity, revenue, cost, profit, store_id,
             product_id, transaction_id, unit_price, discount, promotion_id, window_start,
             event_time, arrival, topic_id, partition) ON tillstream.fact_sales
    TO tillstream_store_role;
GRANT SELECT ON tillstream.fact_inventory TO tillstream_store_role;
GRANT SELECT ON tillstream.price_changes TO tillstream_store_role;
GRANT SELECT ON tillstream.velocity_5m_sums TO tillstream_store_role;
GRANT SELECT ON tillstream.current_stock_states TO tillstream_store_role;
GRANT SELECT ON tillstream.shelf_counts TO tillstream_store_role;
GRANT SELECT ON tillstream.stockout_risk TO tillstream_store_role;
GRANT SELECT ON tillstream.stockout_risk_history TO tillstream_store_role;
GRANT SELECT ON tillstream.restock_alert_history TO tillstream_store_role;
GRANT SELECT ON tillstream.shelf_turns TO tillstream_store_role;
GRANT SELECT ON tillstream.purchase_orders TO tillstream_store_role;
GRANT SELECT ON tillstream.item_sales_daily TO tillstream_store_role;
GRANT SELECT ON tillstream.anomalies TO tillstream_store_role;
-- Read by the policies below, on the person's behalf; its own policy shows each their own rows.
GRANT SELECT ON tillstream.bi_access TO tillstream_store_role;
GRANT SELECT ON tillstream.store_access TO tillstream_store_role;

CREATE ROW POLICY IF NOT EXISTS own_rows ON tillstream.store_access
    USING user_name = currentUser() TO tillstream_store_role;

-- One policy for each table that a store's figures are in. dim_store has none: the list of stores
-- is no secret, and bi_access is made of it.
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.fact_sales
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.fact_inventory
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.price_changes
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.velocity_5m_sums
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.current_stock_states
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.shelf_counts
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.stockout_risk
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.stockout_risk_history
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.restock_alert_history
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.shelf_turns
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.purchase_orders
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.item_sales_daily
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;
CREATE ROW POLICY IF NOT EXISTS own_stores ON tillstream.anomalies
    USING store_id IN (SELECT store_id FROM tillstream.bi_access WHERE user_name = currentUser())
    TO tillstream_store_role;

-- Where a table has a policy, whoever has none sees nothing of it: the services, the people on call
-- and the head office need one that lets everything through.
CREATE ROW POLICY IF NOT EXISTS whole_chain ON tillstream.* USING 1
    TO tillstream_stream_role, tillstream_migrator_role, tillstream_console_role,
       tillstream_desk_role, tillstream_reader_role;

-- readonly = 2: a driver may choose how it is answered, and neither write nor pass the limits.
CREATE SETTINGS PROFILE IF NOT EXISTS tillstream_store_limits SETTINGS
    readonly = 2,
    max_execution_time = 10 CONST,
    max_memory_usage = 500000000 CONST,
    max_result_rows = 100000 CONST,
    max_threads = 2 CONST,
    max_concurrent_queries_for_user = 8 CONST
    TO tillstream_store_role;

CREATE QUOTA IF NOT EXISTS tillstream_store_quota
    KEYED BY user_name
    FOR INTERVAL 1 MINUTE MAX queries = 300, execution_time = 120,
    FOR INTERVAL 1 DAY MAX queries = 50000, result_rows = 100000000
    TO tillstream_store_role;
