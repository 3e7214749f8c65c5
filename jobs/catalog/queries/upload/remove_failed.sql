-- Uploads of some sources ($1) up to an ordinal ($2) that never came into the lake are taken away.
UPDATE catalog.upload
SET removed_at = clock_timestamp()
WHERE source = ANY($1) AND ordinal <= $2 AND published_at IS NULL AND removed_at IS NULL
