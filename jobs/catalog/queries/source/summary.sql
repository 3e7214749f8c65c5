-- What came into each source ($1; null: all) by file and by stream and was not taken away: uploads, rows, dead letters left,
-- newest event, last upload, last batch.
WITH came AS (
    SELECT source, 1 AS uploads, rows, dead_letters, newest_event_at, accepted_at AS uploaded_at,
        NULL::timestamptz AS streamed_at
    FROM catalog.upload
    WHERE ($1::text IS NULL OR source = $1) AND removed_at IS NULL
    UNION ALL
    SELECT source, 0, rows, dead_letters, newest_event_at, NULL, moved_at
    FROM catalog.stream_partition
    WHERE $1::text IS NULL OR source = $1
)
SELECT
    source,
    sum(uploads)::bigint AS uploads,
    sum(rows)::bigint AS rows,
    sum(dead_letters)::bigint AS dead_letters,
    max(newest_event_at) AS newest_event_at,
    max(uploaded_at) AS uploaded_at,
    max(streamed_at) AS streamed_at
FROM came
GROUP BY source
