-- Prolongs the leases ($1 ids, $2 tokens) by $3 seconds. What is not returned was lost.
UPDATE job
SET lease_until = now() + make_interval(secs => $3)
FROM unnest($1::uuid[], $2::bigint[]) AS held (id, token)
WHERE job.id = ANY($1) AND job.id = held.id AND job.lease_token = held.token
RETURNING job.id, job.cancel_reason
