-- Saves the checkpoint $3 of the attempt under the lease ($1 job, $2 token); nothing when the lease was lost.
-- The key share lock keeps the lease from being taken back until the caller commits, and yet lets it be renewed.
WITH held AS (
    SELECT run_id, step, attempt FROM job WHERE id = $1 AND lease_token = $2 FOR KEY SHARE
)
INSERT INTO checkpoint (run_id, step, value, attempt)
SELECT run_id, step, $3, attempt FROM held
ON CONFLICT (run_id, step) DO UPDATE
SET value = excluded.value, attempt = excluded.attempt, updated_at = now()
