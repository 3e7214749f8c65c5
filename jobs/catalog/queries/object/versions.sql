-- Every version of one object, newest first.
SELECT version, definition, hash, created_at
FROM catalog.object_version
WHERE kind = $1 AND name = $2
ORDER BY version DESC
