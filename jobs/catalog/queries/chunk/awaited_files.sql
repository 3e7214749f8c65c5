-- Files that chunks of unpublished uploads staged: whatever ingest keeps of them as a `path`.
SELECT DISTINCT staged.path #>> '{}'
FROM catalog.chunk
JOIN catalog.upload ON upload.id = chunk.upload
CROSS JOIN LATERAL jsonb_path_query(chunk.digest::jsonb, 'strict $.**.path', '{}', true) AS staged (path)
WHERE upload.published_at IS NULL AND upload.removed_at IS NULL
