-- Files that a compaction replaces are no longer read from its version on.
-- $1 version, $2 paths
UPDATE lake.lake_file
SET end_version = $1, ended_at = now()
WHERE path = ANY($2)
  AND end_version IS NULL
