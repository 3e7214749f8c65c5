-- Ends the attempts under the leases ($1 ids, $2 tokens) for good: the jobs leave for history with the outcomes $3
-- and faults $4. What is not returned was fenced: another holds the lease, or the job is gone.
WITH ended AS (
    DELETE FROM job
    USING unnest($1::uuid[], $2::bigint[], $3::text[], $4::jsonb[]) AS held (id, token, outcome, fault)
    WHERE job.id = ANY($1) AND job.id = held.id AND job.lease_token = held.token
    RETURNING job.*, held.outcome, held.fault
), history AS (
    INSERT INTO attempt (run_id, step, attempt, job_id, worker_id, started_at, outcome, fault)
    SELECT run_id, step, attempt, id, worker_id, started_at, outcome, fault FROM ended
)
SELECT id, run_id, step FROM ended
