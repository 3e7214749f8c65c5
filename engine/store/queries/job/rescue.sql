-- Takes back up to $1 expired leases, by the database's clock. The worker's loss is not the job's fault: no attempt
-- is charged, but crashes are counted. Jobs at their limit of crashes are left for `poison.sql`.
WITH expired AS (
    SELECT id FROM job
    WHERE lease_token IS NOT NULL AND lease_until < now()
    ORDER BY lease_until
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), before AS (
    SELECT job.* FROM job WHERE id = ANY(ARRAY(SELECT id FROM expired)) AND crashes + 1 < max_crashes
), history AS (
    INSERT INTO attempt (run_id, step, attempt, job_id, worker_id, started_at, outcome, fault)
    SELECT run_id, step, attempt, id, worker_id, started_at, 'lost',
           jsonb_build_object('message', 'the worker that ran it is gone')
    FROM before
)
UPDATE job
SET crashes = crashes + 1, run_at = now(), lease_token = NULL, lease_until = NULL, worker_id = NULL, started_at = NULL
WHERE id = ANY(ARRAY(SELECT id FROM before))
RETURNING id
