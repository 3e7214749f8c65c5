-- What was made from what. One row an edge: the newest run that drew it stays.
CREATE TABLE lineage_edge (
    -- `source/arrivals`, `column/arrivals.arr_delay`, `view/route_week@1`, `model/late_flight@2` …
    from_object text NOT NULL,
    to_object text NOT NULL,
    run uuid,
    -- The project's code that was in force.
    code_hash text,
    -- The lake version that its commit made or read.
    lake_version bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (from_object, to_object)
);
CREATE INDEX lineage_edge_to ON lineage_edge (to_object);
