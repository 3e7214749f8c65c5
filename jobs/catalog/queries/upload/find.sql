-- The upload of a file for a source that was not a forced repeat: id, run.
SELECT id, run
FROM catalog.upload
WHERE source = $1 AND sha256 = $2 AND repeat_of IS NULL
