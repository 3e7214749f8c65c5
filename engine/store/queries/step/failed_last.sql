-- The job of the kind $2 that ended last under the concurrency key $1, if it did not complete and nothing waits or runs
-- under the key that could still make it good. What is wished for later alone waits for its time, not for this.
SELECT run_id, fault, reason
FROM (
    SELECT run_id, state, fault, reason FROM step
    WHERE concurrency_key = $1 AND kind = $2 AND finished_at IS NOT NULL
    ORDER BY finished_at DESC LIMIT 1
) AS ended
WHERE state IN ('failed', 'cancelled')
  AND NOT EXISTS (
    SELECT FROM step
    WHERE concurrency_key = $1 AND finished_at IS NULL
      AND NOT EXISTS (
        SELECT FROM job
        WHERE job.run_id = step.run_id AND job.step = step.name
          AND job.attempt = 0 AND job.lease_token IS NULL AND job.run_at > now()
    )
)
