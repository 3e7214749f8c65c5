-- Accepted files.
CREATE TABLE upload (
    id uuid PRIMARY KEY,
    -- Gives its rows their `seq`: ordinal · 2^40 + row.
    ordinal bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    source text NOT NULL,
    -- Of the whole file, in hex; the file lies on the object store under it.
    sha256 text NOT NULL,
    -- The upload of the same file that this one repeats by force.
    repeat_of uuid REFERENCES upload,
    format text NOT NULL CHECK (format IN ('csv', 'parquet', 'jsonl')),
    file_name text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    -- The source as it was declared at acceptance: what every chunk validates against.
    definition json NOT NULL,
    -- Columns of the file, in its order.
    header json NOT NULL,
    -- The data clock at acceptance: `created_at` of its rows unless the source names a column.
    created_at timestamptz NOT NULL,
    -- Real time of acceptance.
    accepted_at timestamptz NOT NULL DEFAULT now(),
    run uuid,
    -- Set by its publication: rows in the lake, dead letters left, lake version, newest event, naive timestamps read as UTC.
    published_at timestamptz,
    rows bigint NOT NULL DEFAULT 0,
    dead_letters bigint NOT NULL DEFAULT 0,
    lake_version bigint,
    newest_event_at timestamptz,
    naive_timestamps boolean NOT NULL DEFAULT false
);
-- The same file for the same source is one ingest, unless repeated by force.
CREATE UNIQUE INDEX upload_one_file ON upload (source, sha256) WHERE repeat_of IS NULL;
CREATE INDEX upload_source ON upload (source, ordinal);

-- Parts of a file that are digested by a job each.
CREATE TABLE chunk (
    upload uuid NOT NULL REFERENCES upload,
    number integer NOT NULL CHECK (number >= 0),
    -- Bytes of a text file, or rows of a Parquet file: first, and first not taken.
    starts_at bigint NOT NULL,
    ends_at bigint NOT NULL,
    -- Data rows before it in the file.
    rows_before bigint NOT NULL,
    -- Lines before it in a text file.
    lines_before bigint NOT NULL,
    -- What its job staged; null until then.
    digest json,
    PRIMARY KEY (upload, number)
);
