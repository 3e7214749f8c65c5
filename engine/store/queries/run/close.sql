-- Gives a final state to those of the runs $1 that have nothing left to do.
-- A step that waits for a failed one never starts by itself, so a run without jobs is over.
UPDATE run
SET state = CASE
        WHEN EXISTS (SELECT FROM step WHERE run_id = run.id AND state = 'cancelled') THEN 'cancelled'
        WHEN EXISTS (SELECT FROM step WHERE run_id = run.id AND state = 'failed') THEN 'failed'
        ELSE 'completed'
    END,
    finished_at = now()
WHERE id = ANY($1)
  AND finished_at IS NULL
  AND NOT EXISTS (SELECT FROM job WHERE job.run_id = run.id)
RETURNING id, state
