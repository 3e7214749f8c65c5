-- Uploads of some sources ($1) that aren't in the lake, and whether their ingest still runs.
SELECT upload.ordinal, upload.source, coalesce(run.state = 'running', true) AS running
FROM catalog.upload
LEFT JOIN engine.run ON run.id = upload.run
WHERE upload.published_at IS NULL AND upload.removed_at IS NULL AND upload.source = ANY($1)
ORDER BY upload.ordinal
