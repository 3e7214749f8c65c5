-- Takes back up to $1 leases that have expired, by the database's clock, or whose workers are dead ($2 seconds silent).
-- The worker's loss is not the job's fault: no attempt is charged, but crashes are counted. The jobs $3, at their limit of
-- crashes, stay where they are.
WITH expired AS (
    SELECT id FROM job
    WHERE lease_token IS NOT NULL
      AND (lease_until < now() OR worker_id = ANY(ARRAY(SELECT dead_workers($2))))
      AND id <> ALL($3)
    ORDER BY lease_until
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), before AS (
    -- Crashes in a row: an attempt that saved a checkpoint got somewhere, so counting starts anew.
    SELECT job.id, job.run_id, job.step, job.attempt, job.worker_id, job.started_at,
           CASE WHEN checkpoint.attempt = job.attempt THEN 0 ELSE job.crashes END
           + CASE WHEN blameless(job.worker_id, job.started_at) THEN 0 ELSE 1 END AS crashes
    FROM job LEFT JOIN checkpoint ON checkpoint.run_id = job.run_id AND checkpoint.step = job.step
    WHERE job.id = ANY(ARRAY(SELECT id FROM expired))
), history AS (
    INSERT INTO attempt (run_id, step, attempt, job_id, worker_id, started_at, outcome, fault)
    SELECT run_id, step, attempt, id, worker_id, started_at, 'lost',
           jsonb_build_object('message', 'the worker that ran it is gone')
    FROM before
)
UPDATE job
SET crashes = before.crashes, run_at = now(), lease_token = NULL, lease_until = NULL, worker_id = NULL, started_at = NULL
FROM before
WHERE job.id = ANY(ARRAY(SELECT id FROM before)) AND job.id = before.id
RETURNING job.id
