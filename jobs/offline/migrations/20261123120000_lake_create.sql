-- The manifest: which files are which table's rows, as of which version.

-- One row: the newest version of the whole lake. Taken last in a publishing transaction, so versions become
-- visible in their order.
CREATE TABLE lake_head (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    head bigint NOT NULL
);
INSERT INTO lake_head (head) VALUES (0);

CREATE TABLE lake_table (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- `source/NAME`, `view/NAME/VERSION`, `dead/NAME`, `predictions/MODEL`
    name text NOT NULL UNIQUE,
    -- what its files are sorted by, before the total order
    keys text[] NOT NULL
);

CREATE TABLE lake_commit (
    -- the version of the lake that it made
    version bigint PRIMARY KEY,
    table_id bigint NOT NULL REFERENCES lake_table,
    -- makes it happen once
    job_key text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('append', 'compact')),
    -- rows it added
    rows bigint NOT NULL CHECK (rows >= 0),
    committed_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (table_id, job_key)
);
CREATE INDEX lake_commit_by_table ON lake_commit (table_id, version);

CREATE TABLE lake_file (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_id bigint NOT NULL REFERENCES lake_table,
    path text NOT NULL UNIQUE,
    -- read by versions with begin_version <= v, and v < end_version unless that is null
    begin_version bigint NOT NULL,
    end_version bigint CHECK (end_version > begin_version),
    -- commits whose rows it holds; after a compaction several, and its rows then name theirs in `lake_commit`
    first_commit bigint NOT NULL,
    last_commit bigint NOT NULL CHECK (last_commit >= first_commit),
    rows bigint NOT NULL CHECK (rows > 0),
    size_bytes bigint NOT NULL,
    -- null where the table has no such column
    valid_at_min timestamptz,
    valid_at_max timestamptz,
    created_at_min timestamptz,
    created_at_max timestamptz,
    -- when a compaction replaced it, for garbage collection
    ended_at timestamptz,
    CHECK ((end_version IS NULL) = (ended_at IS NULL))
);
CREATE INDEX lake_file_by_table ON lake_file (table_id, begin_version);
