-- The version that a table's commit under a job key made.
-- $1 table, $2 job key
SELECT lake_commit.version
FROM lake.lake_commit
JOIN lake.lake_table ON lake_table.id = lake_commit.table_id
WHERE lake_table.name = $1
  AND lake_commit.job_key = $2
