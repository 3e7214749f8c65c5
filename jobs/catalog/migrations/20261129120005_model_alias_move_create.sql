-- Every move of an alias, by the data clock: which version answered when. What an alias was is never rewritten.
CREATE TABLE model_alias_move (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    alias text NOT NULL,
    version integer NOT NULL,
    -- The data clock then.
    at timestamptz NOT NULL,
    -- Real time.
    moved_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (model, version) REFERENCES model_version
);
CREATE INDEX model_alias_move_when ON model_alias_move (model, alias, at);

-- Earlier moves weren't kept: what an alias names now counts as named since ever.
INSERT INTO model_alias_move (model, alias, version, at)
SELECT model, alias, version, '1970-01-01T00:00:00Z' FROM model_alias;
