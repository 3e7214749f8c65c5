-- Incidents of one monitor, or of all, newest first.
SELECT id, monitor, state, window_from, window_to, summary, opened_at, closed_at
FROM catalog.incident
WHERE $1::text IS NULL OR monitor = $1
ORDER BY opened_at DESC, id DESC
