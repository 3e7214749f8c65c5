-- Rows of an upload ($1) that were dead letters and are valid now ($2), and their newest event ($3).
UPDATE catalog.upload
SET rows = rows + $2,
    dead_letters = dead_letters - $2,
    newest_event_at = greatest(newest_event_at, $3)
WHERE id = $1
