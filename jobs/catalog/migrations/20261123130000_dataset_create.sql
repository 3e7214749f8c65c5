-- Registered training sets: what was asked, what was pinned, what came out.
CREATE TABLE dataset (
    id uuid PRIMARY KEY,
    -- Names the work: a repeat of the job that built it finds the first row.
    job_key text NOT NULL UNIQUE,
    label text NOT NULL,
    -- The model whose inputs were asked for, where one was named.
    model text,
    -- Lake version that every read was pinned to.
    lake_version bigint NOT NULL,
    -- The dataset. Not jsonb: that would lose the order of its columns.
    body json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
