-- A small insert of facts should not make three parts of one: their sums by day are made when the
-- parts are merged. Until then they are read from the rows themselves.
ALTER TABLE fact_sales
    MODIFY SETTING materialize_projections_on_insert = 0, materialize_projections_on_merge = 1;
