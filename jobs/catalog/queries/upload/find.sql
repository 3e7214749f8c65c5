-- The upload of a file for a source that was neither a forced repeat nor pushed, and whose rows were not taken away: id, run.
SELECT id, run
FROM catalog.upload
WHERE source = $1 AND sha256 = $2 AND repeat_of IS NULL AND push_key IS NULL AND removed_at IS NULL
