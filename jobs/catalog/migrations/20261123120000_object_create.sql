-- Declared objects: every version ever applied, and which one is in force.
CREATE TABLE object_version (
    -- `source`, `view`, `model` …
    kind text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    -- The declared object. Not jsonb: that would lose the order of keys, columns and features.
    definition json NOT NULL,
    -- SHA-256 of the definition, in hex.
    hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, name, version)
);

CREATE TABLE object (
    kind text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    -- Place in the order of declaration.
    position integer NOT NULL,
    -- When it was no longer declared; its versions and data stay.
    retired_at timestamptz,
    PRIMARY KEY (kind, name),
    FOREIGN KEY (kind, name, version) REFERENCES object_version
);

-- The project's Python, one row for each content ever applied.
CREATE TABLE code_archive (
    -- SHA-256 of the packed files, in hex; also where they lie on the object store.
    hash text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Which code is in force; a run is pinned to what was in force when it started.
CREATE TABLE code_current (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    hash text NOT NULL REFERENCES code_archive
);
