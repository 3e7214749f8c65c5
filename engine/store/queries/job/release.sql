-- Hands back leases whose jobs were never started: nothing is charged, the attempt's number is reused.
WITH held AS (
    SELECT job.id
    FROM job JOIN unnest($1::uuid[], $2::bigint[]) AS asked (id, token)
      ON job.id = asked.id AND job.lease_token = asked.token
    WHERE job.id = ANY($1)
    ORDER BY job.id
    FOR UPDATE OF job
)
UPDATE job
SET lease_token = NULL, lease_until = NULL, worker_id = NULL, started_at = NULL, attempt = attempt - 1
WHERE id = ANY(ARRAY(SELECT id FROM held))
