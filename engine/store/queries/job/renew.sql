-- Prolongs the leases ($1 ids, $2 tokens) by $3 seconds. What is not returned was lost.
-- A job that is being ended at this moment is passed over, not waited for: one slow commit must not cost its
-- neighbours their leases.
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS asked (id, token)
), free AS (
    SELECT job.id
    FROM job JOIN asked ON job.id = asked.id AND job.lease_token = asked.token
    WHERE job.id = ANY($1)
    FOR NO KEY UPDATE OF job SKIP LOCKED
), renewed AS (
    UPDATE job SET lease_until = now() + make_interval(secs => $3) WHERE id = ANY(ARRAY(SELECT id FROM free))
)
SELECT job.id, job.cancel_reason
FROM job JOIN asked ON job.id = asked.id AND job.lease_token = asked.token
WHERE job.id = ANY($1)
