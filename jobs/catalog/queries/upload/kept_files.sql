-- Those of some hashes ($1) that an upload has whose rows were not taken away.
SELECT DISTINCT sha256
FROM catalog.upload
WHERE sha256 = ANY($1) AND removed_at IS NULL
