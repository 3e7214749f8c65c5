-- A rollout: an alias on its way from the version that it names to a candidate, a share of the entities at a time.
CREATE TABLE rollout (
    id uuid PRIMARY KEY,
    model text NOT NULL,
    alias text NOT NULL,
    -- The version that the alias names while it goes on.
    control integer NOT NULL,
    candidate integer NOT NULL CHECK (candidate <> control),
    -- Shares, how long each lasts, and what ends it.
    plan jsonb NOT NULL,
    -- Which of the plan's shares, from 0.
    step integer NOT NULL DEFAULT 0,
    -- Real time.
    step_began_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'promoted', 'rolled_back')),
    -- What it waits for, or why it ended.
    reason text NOT NULL DEFAULT '',
    -- What the judge has seen of the two versions so far.
    evidence jsonb NOT NULL DEFAULT '{}',
    began_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz CHECK ((ended_at IS NULL) = (state = 'running'))
);

-- One at a time, so that what the versions do is told apart.
CREATE UNIQUE INDEX rollout_running ON rollout (model, alias) WHERE state = 'running';

-- An incident may be a rollback: it stays open until the next rollout of the model begins or ends well.
ALTER TABLE incident ADD COLUMN rollout uuid REFERENCES rollout (id);
DROP INDEX incident_open_model;
CREATE UNIQUE INDEX incident_open_model ON incident (model) WHERE state = 'open' AND rollout IS NULL;
