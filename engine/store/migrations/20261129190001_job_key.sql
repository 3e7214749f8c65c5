-- A key stays with its job for life. It is unique among jobs that were never claimed; one that comes back to wait
-- (released, retried, snoozed, rescued) is found by its key as well, but may meet one that was asked for meanwhile.
DROP INDEX job_key;
CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL AND first_started_at IS NULL;
CREATE INDEX job_key_any ON job (key) WHERE key IS NOT NULL;
