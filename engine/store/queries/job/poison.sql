-- Jobs under which a worker died once too often: their leases have expired, or their
-- workers are dead ($2 seconds silent), and their crashes are at the limit.
-- An attempt that saved a checkpoint got somewhere, and is not one of them unless one crash is the limit.
SELECT job.id, job.lease_token, job.crashes + 1 AS crashes
FROM job
WHERE lease_token IS NOT NULL AND crashes + 1 >= max_crashes
  AND (lease_until < now() OR worker_id = ANY(ARRAY(SELECT dead_workers($2))))
  AND (max_crashes <= 1 OR NOT EXISTS (
      SELECT FROM checkpoint
      WHERE checkpoint.run_id = job.run_id AND checkpoint.step = job.step AND checkpoint.attempt = job.attempt))
ORDER BY lease_until
LIMIT $1
FOR UPDATE OF job SKIP LOCKED
