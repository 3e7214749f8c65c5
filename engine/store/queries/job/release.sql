-- Hands back leases whose jobs were never started: nothing is charged, the attempt's number is reused.
UPDATE job
SET lease_token = NULL, lease_until = NULL, worker_id = NULL, attempt = attempt - 1
FROM unnest($1::uuid[], $2::bigint[]) AS held (id, token)
WHERE job.id = ANY($1) AND job.id = held.id AND job.lease_token = held.token
