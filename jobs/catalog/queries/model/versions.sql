-- Versions of one model ($1), or of all where it is null, newest first.
SELECT version, body, created_at
FROM catalog.model_version
WHERE $1::text IS NULL OR model = $1
ORDER BY model, version DESC
