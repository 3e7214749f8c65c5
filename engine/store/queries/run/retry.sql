-- Makes the failed and cancelled steps of the run $1 ready again; what they block stays pending until they complete.
-- A cancelled step that still waits for parents goes back to waiting.
UPDATE step
SET state = CASE WHEN pending_deps = 0 THEN 'ready' ELSE 'pending' END,
    fault = NULL, reason = NULL, finished_at = NULL
WHERE run_id = $1 AND state IN ('failed', 'cancelled')
RETURNING run_id, name, kind, policy, priority, concurrency_key, pending_deps = 0 AS ready
