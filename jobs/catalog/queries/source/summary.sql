-- What came into each source ($1; null: all) and was not taken away: uploads, rows, dead letters left, newest event, last upload.
SELECT
    source,
    count(*) AS uploads,
    sum(rows)::bigint AS rows,
    sum(dead_letters)::bigint AS dead_letters,
    max(newest_event_at) AS newest_event_at,
    max(accepted_at) AS uploaded_at
FROM catalog.upload
WHERE ($1::text IS NULL OR source = $1) AND removed_at IS NULL
GROUP BY source
