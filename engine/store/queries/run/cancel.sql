-- Takes the waiting jobs of the run $1 out of the queue; returns all its steps that have not started.
-- A job that waits for its next attempt leaves no new one behind: its attempts are in history already.
WITH gone AS (
    DELETE FROM job WHERE run_id = $1 AND lease_token IS NULL RETURNING step
)
SELECT step FROM gone
UNION
SELECT name FROM step WHERE run_id = $1 AND state = 'pending'
