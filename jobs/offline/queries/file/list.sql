-- Files of a table as of a version that hold rows of commits (after, up to], in the order of their commits.
-- A merged file may begin to count before all of its commits do: readers leave the later rows out.
-- $1 table, $2 after, $3 up to
SELECT
    lake_file.path, lake_file.first_commit, lake_file.last_commit, lake_file.rows, lake_file.size_bytes,
    lake_file.valid_at_min, lake_file.valid_at_max, lake_file.created_at_min, lake_file.created_at_max, lake_file.timed_by
FROM lake.lake_file
JOIN lake.lake_table ON lake_table.id = lake_file.table_id
WHERE lake_table.name = $1
  AND lake_file.begin_version <= $3
  AND (lake_file.end_version IS NULL OR lake_file.end_version > $3)
  AND lake_file.last_commit > $2
ORDER BY lake_file.first_commit, lake_file.path
