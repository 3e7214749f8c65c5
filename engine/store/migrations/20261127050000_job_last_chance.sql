-- When a worker dies, each of its jobs may be the one that killed it. A job whose next crash would be its last runs
-- beside no other such job, so that it goes to dead letter by its own doing and not by its neighbour's.
ALTER TABLE job ADD COLUMN last_chance boolean NOT NULL
    GENERATED ALWAYS AS (crashes > 0 AND crashes + 1 >= max_crashes) STORED;
CREATE INDEX job_last_chance ON job (worker_id) WHERE last_chance AND lease_token IS NOT NULL;
