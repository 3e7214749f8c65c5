-- Ends the attempts under the leases ($1 ids, $2 tokens) with another to come $3 seconds from now, by this clock.
-- `charge` ($4) counts against the retry policy; outcomes $5 and faults $6 go to history. What is not returned was
-- fenced.
-- A job that was asked to stop comes back at once, to be cancelled by whoever claims it.
WITH held AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::float8[], $4::boolean[], $5::text[], $6::jsonb[])
        AS held (id, token, delay, charge, outcome, fault)
), before AS (
    SELECT job.*, held.outcome, held.fault
    FROM job JOIN held ON job.id = held.id AND job.lease_token = held.token
    WHERE job.id = ANY($1)
    FOR UPDATE OF job
), history AS (
    INSERT INTO attempt (run_id, step, attempt, job_id, worker_id, started_at, outcome, fault)
    SELECT run_id, step, attempt, id, worker_id, started_at, outcome, fault FROM before
)
UPDATE job
SET run_at = CASE WHEN cancel_reason IS NULL THEN now() + make_interval(secs => held.delay) ELSE now() END,
    charged = charged + held.charge::integer,
    crashes = 0,
    lease_token = NULL, lease_until = NULL, worker_id = NULL, started_at = NULL
FROM held
WHERE job.id = ANY(ARRAY(SELECT id FROM before)) AND job.id = held.id
RETURNING job.id
