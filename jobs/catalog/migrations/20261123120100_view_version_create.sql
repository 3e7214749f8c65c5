-- Versions of a view's computed rows. A new one is filled beside the current one and then takes its place.
CREATE TABLE view_version (
    view text NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    state text NOT NULL CHECK (state IN ('building', 'current', 'retired')),
    definition json NOT NULL,
    -- Of everything that changes its values: rules, inputs, the file of its Python function.
    hash text NOT NULL,
    -- The project's code when it was applied; its Python runs from there. Empty: no Python in the project.
    code_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (view, version)
);
CREATE UNIQUE INDEX view_version_one_current ON view_version (view) WHERE state = 'current';
CREATE UNIQUE INDEX view_version_one_building ON view_version (view) WHERE state = 'building';
