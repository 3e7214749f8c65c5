-- $1 paths
SELECT path
FROM lake.lake_file
WHERE path = ANY($1)
