-- Attempts of the run $1, oldest first, the running ones last.
SELECT step, attempt, worker_id, started_at, finished_at, outcome, fault
FROM attempt WHERE run_id = $1
UNION ALL
SELECT step, attempt, worker_id, started_at, NULL, 'running', NULL
FROM job WHERE run_id = $1 AND lease_token IS NOT NULL
ORDER BY started_at, step, attempt
