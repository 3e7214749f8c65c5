-- Commits that added rows to a table, in their order.
-- $1 table, $2 after, $3 up to
SELECT lake_commit.version, lake_commit.job_key, lake_commit.rows, lake_commit.committed_at
FROM lake.lake_commit
JOIN lake.lake_table ON lake_table.id = lake_commit.table_id
WHERE lake_table.name = $1
  AND lake_commit.kind = 'append'
  AND lake_commit.version > $2
  AND lake_commit.version <= $3
ORDER BY lake_commit.version
