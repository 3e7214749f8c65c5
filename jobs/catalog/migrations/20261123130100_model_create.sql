-- Immutable model versions, counted from 1 for each model.
CREATE TABLE model_version (
    model text NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    -- Names the work: a repeat of the job that registered it finds the first row.
    job_key text NOT NULL UNIQUE,
    -- Folder of the artifact on the object store, by content hash.
    artifact text NOT NULL,
    dataset uuid REFERENCES dataset (id),
    -- The version. Not jsonb: that would lose the order of its columns.
    body json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, version)
);

-- Names that move between versions; `champion` is what serving answers with.
CREATE TABLE model_alias (
    model text NOT NULL,
    alias text NOT NULL,
    version integer NOT NULL,
    -- The version before the last promotion: what a rollback returns to.
    previous integer,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES model_version,
    FOREIGN KEY (model, previous) REFERENCES model_version (model, version)
);

-- Figures of a version, each over a named subject: `training`, `holdout dst_…`, `late 2013-06-01..2013-07-01`.
CREATE TABLE model_metric (
    model text NOT NULL,
    version integer NOT NULL,
    subject text NOT NULL,
    metric text NOT NULL,
    value double precision NOT NULL,
    -- Rows the figure was computed over; 0 where the user's code reported it.
    rows bigint NOT NULL,
    measured_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, version, subject, metric),
    FOREIGN KEY (model, version) REFERENCES model_version
);
