-- The upload of rows that were pushed to a source under a key: id, run, hash of the rows.
SELECT id, run, sha256
FROM catalog.upload
WHERE source = $1 AND push_key = $2
