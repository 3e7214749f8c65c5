-- $1 paths
DELETE FROM lake.lake_file
WHERE path = ANY($1)
