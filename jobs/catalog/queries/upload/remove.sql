-- The rows of all uploads of a source ($1) that are in the lake are taken away.
UPDATE catalog.upload
SET removed_at = clock_timestamp()
WHERE source = $1 AND published_at IS NOT NULL AND removed_at IS NULL
