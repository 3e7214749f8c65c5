-- Uploads by id ($1) or source ($2), newest first, at most $3; a null asks for any.
SELECT
    upload.id, upload.ordinal, upload.source, upload.sha256, upload.repeat_of, upload.format, upload.file_name,
    upload.size_bytes, upload.definition, upload.header, upload.created_at, upload.accepted_at, upload.run,
    upload.published_at, upload.rows, upload.dead_letters, upload.newest_event_at,
    upload.naive_timestamps, upload.ignored, upload.removed_at,
    count(chunk.upload) AS chunks,
    -- What is published is done, whichever job digested it.
    count(chunk.upload) FILTER (WHERE chunk.digest IS NOT NULL OR upload.published_at IS NOT NULL) AS chunks_done
FROM catalog.upload
LEFT JOIN catalog.chunk ON chunk.upload = upload.id
WHERE ($1::uuid IS NULL OR upload.id = $1) AND ($2::text IS NULL OR upload.source = $2)
GROUP BY upload.id
ORDER BY upload.ordinal DESC
LIMIT $3
