-- The engine's state. Hot: `job` holds live work only and stays narrow. `attempt` is history, by day, dropped not
-- deleted. `run` and `step` are what people ask about; the hot path writes them when a step ends, not before.

CREATE SEQUENCE lease_token;

-- A fence that is never drawn twice. Claims commit without waiting for the disk, so a crash of the database may
-- take the sequence back a little: the milliseconds in front keep what is drawn afterwards apart.
CREATE FUNCTION next_lease_token() RETURNS bigint LANGUAGE sql VOLATILE AS
    $$SELECT ((extract(epoch FROM clock_timestamp()) * 1000)::bigint << 20) | (nextval('lease_token') & 1048575)$$;

CREATE TABLE run (
    id            uuid PRIMARY KEY,
    pipeline      text NOT NULL,                 -- the pipeline, or the kind of a single job
    version       integer NOT NULL DEFAULT 0,    -- the definition it is pinned to; 0 for a single job
    single        boolean NOT NULL,              -- a job of the platform, not a pipeline's run
    context       jsonb NOT NULL,                -- what steps are prepared with: params, dates, code; opaque here
    key           text,                          -- the same key starts the same run once
    trigger       text NOT NULL CHECK (trigger IN ('manual', 'schedule', 'job')),
    logical_time  timestamptz,                   -- the tick or date it stands for, on the data clock
    state         text NOT NULL CHECK (state IN ('running', 'paused', 'completed', 'failed', 'cancelled')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    UNIQUE (pipeline, key),
    CHECK ((finished_at IS NOT NULL) = (state IN ('completed', 'failed', 'cancelled')))
);
CREATE INDEX run_newest ON run (created_at DESC) WHERE NOT single;
CREATE INDEX run_unfinished ON run (created_at) WHERE finished_at IS NULL;

CREATE TABLE step (
    run_id           uuid NOT NULL REFERENCES run ON DELETE CASCADE,
    name             text NOT NULL,
    position         integer NOT NULL,
    kind             text NOT NULL,
    args             jsonb NOT NULL,             -- of a pipeline's step: may hold expressions
    condition        text,                       -- false skips the step
    policy           jsonb NOT NULL,
    priority         smallint NOT NULL DEFAULT 0,
    concurrency_key  text,
    pending_deps     integer NOT NULL,           -- parents that have not completed
    state            text NOT NULL CHECK (state IN ('pending', 'ready', 'completed', 'skipped', 'failed', 'cancelled')),
    outputs          jsonb,                      -- of a completed step
    fault            jsonb,                      -- of a failed one
    reason           text,                       -- of a skipped or cancelled one
    params           jsonb,                      -- logged by user code
    metrics          jsonb,                      -- logged by user code
    finished_at      timestamptz,
    PRIMARY KEY (run_id, name)
);

CREATE TABLE step_edge (
    run_id  uuid NOT NULL,
    parent  text NOT NULL,
    child   text NOT NULL,
    PRIMARY KEY (run_id, parent, child),
    FOREIGN KEY (run_id, parent) REFERENCES step ON DELETE CASCADE,
    FOREIGN KEY (run_id, child) REFERENCES step ON DELETE CASCADE
);
CREATE INDEX step_edge_child ON step_edge (run_id, child);

-- One row for each job that waits or runs. It leaves for history when it ends.
CREATE TABLE job (
    id                uuid PRIMARY KEY,
    run_id            uuid NOT NULL,
    step              text NOT NULL,
    kind              text NOT NULL,
    priority          smallint NOT NULL,         -- lower first
    run_at            timestamptz NOT NULL,      -- not before
    key               text,                      -- names the wish while it waits; taken away by the claim
    concurrency_key   text,                      -- at most one live lease each
    max_crashes       integer NOT NULL,
    attempt           integer NOT NULL DEFAULT 0,   -- the running or last one, counted from 1
    charged           integer NOT NULL DEFAULT 0,   -- attempts that count against the retry policy
    crashes           integer NOT NULL DEFAULT 0,   -- workers that died under it in a row
    first_started_at  timestamptz,
    cancel_reason     text,                      -- asked to stop
    lease_token       bigint,                    -- the fence; null: waits
    lease_until       timestamptz,
    worker_id         uuid,
    started_at        timestamptz,
    CHECK ((lease_token IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX job_waiting ON job (priority, run_at, id) WHERE lease_token IS NULL;
CREATE INDEX job_leased ON job (lease_until) WHERE lease_token IS NOT NULL;
CREATE INDEX job_run ON job (run_id);
CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL;
-- The last word on concurrency keys, whatever a claim believed.
CREATE UNIQUE INDEX job_concurrency ON job (concurrency_key) WHERE lease_token IS NOT NULL AND concurrency_key IS NOT NULL;

-- Where the next attempt of a step goes on.
CREATE TABLE checkpoint (
    run_id      uuid NOT NULL,
    step        text NOT NULL,
    value       jsonb NOT NULL,
    attempt     integer NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, step)
);

-- Finished attempts, one partition a day.
CREATE TABLE attempt (
    run_id       uuid NOT NULL,
    step         text NOT NULL,
    attempt      integer NOT NULL,
    job_id       uuid NOT NULL,
    worker_id    uuid,
    started_at   timestamptz,
    finished_at  timestamptz NOT NULL DEFAULT now(),
    outcome      text NOT NULL CHECK (outcome IN
                 ('completed', 'retryable', 'snoozed', 'discarded', 'cancelled', 'skipped', 'lost')),
    fault        jsonb
) PARTITION BY RANGE (finished_at);
CREATE INDEX attempt_run ON attempt (run_id, step, attempt);
-- Nothing is lost when a day's partition could not be made in time.
CREATE TABLE attempt_default PARTITION OF attempt DEFAULT;

CREATE TABLE attempt_log (
    run_id   uuid NOT NULL,
    step     text NOT NULL,
    attempt  integer NOT NULL,
    line_no  integer NOT NULL,                   -- from 1
    at       timestamptz NOT NULL,
    line     text NOT NULL,
    PRIMARY KEY (run_id, step, attempt, line_no)
);

CREATE TABLE worker (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    pid         integer NOT NULL,
    slots       integer NOT NULL,
    kinds       text[] NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now(),
    draining    boolean NOT NULL DEFAULT false
);

CREATE TABLE schedule (
    name        text PRIMARY KEY,                -- `pipeline/train_daily`, `monitor/late_flight_drift`
    cron        text NOT NULL,
    timezone    text NOT NULL,
    catchup     text NOT NULL CHECK (catchup IN ('all', 'last', 'none')),
    overlap     text NOT NULL CHECK (overlap IN ('skip', 'queue_one', 'queue_all', 'cancel_other', 'allow')),
    target      jsonb NOT NULL,                  -- what a tick starts; opaque here
    paused      boolean NOT NULL DEFAULT false,
    next_at     timestamptz NOT NULL             -- on the data clock
);

CREATE TABLE tick (
    schedule      text NOT NULL REFERENCES schedule ON DELETE CASCADE,
    logical_time  timestamptz NOT NULL,          -- on the data clock
    outcome       text NOT NULL CHECK (outcome IN ('fired', 'skipped', 'missed', 'queued')),
    run_id        uuid,
    fired_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule, logical_time)
);

CREATE TABLE data_clock (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),  -- one row
    clock   jsonb NOT NULL
);
INSERT INTO data_clock (clock) VALUES ('"wall"');
