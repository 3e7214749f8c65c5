-- Up to $1 jobs, of the runs $3 (null: any), under which a worker died once too often: their leases have expired, or
-- their workers are dead ($2 seconds silent), and their crashes are at the limit.
-- An attempt that saved a checkpoint got somewhere, and is not one of them unless one crash is the limit. Nor is one
-- that had neighbours, which may have done it, until there were twice as many crashes: proven is what ran alone.
SELECT job.id, job.lease_token, job.crashes + 1 AS crashes, job.run_id
FROM job
WHERE lease_token IS NOT NULL AND crashes + 1 >= max_crashes
  AND (lease_until < now() OR worker_id = ANY(ARRAY(SELECT dead_workers($2))))
  AND ($3::uuid[] IS NULL OR run_id = ANY($3))
  AND NOT blameless(worker_id, started_at)
  AND (max_crashes <= 1 OR NOT EXISTS (
      SELECT FROM checkpoint
      WHERE checkpoint.run_id = job.run_id AND checkpoint.step = job.step AND checkpoint.attempt = job.attempt))
  AND (max_crashes <= 1 OR crashes + 1 >= 2 * max_crashes OR NOT EXISTS (
      SELECT FROM job AS neighbour
      WHERE neighbour.worker_id = job.worker_id AND neighbour.lease_token IS NOT NULL AND neighbour.id <> job.id))
ORDER BY lease_until
LIMIT $1
