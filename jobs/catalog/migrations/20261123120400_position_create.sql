-- How far each view version has consumed the lake.
CREATE TABLE position (
    view text NOT NULL,
    version integer NOT NULL,
    -- Commits of its inputs up to this lake version are consumed.
    lake_version bigint NOT NULL,
    -- Source commits up to this lake version are in its rows. Equal to lake_version for views over a source;
    -- derived views are only as far as their inputs were.
    reached bigint NOT NULL,
    -- Rows with valid_at up to this moment of the data clock have been written to Redis.
    data_clock timestamptz NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (view, version),
    FOREIGN KEY (view, version) REFERENCES view_version (view, version)
);

-- Orders publications of the live set: drawn after a change committed, before reading what to publish.
CREATE SEQUENCE live_order;
