-- All files of a table, whatever version reads them, in the order of their commits; and whether the newest does.
-- $1 table
SELECT
    lake_file.path, lake_file.first_commit, lake_file.last_commit, lake_file.rows, lake_file.size_bytes,
    lake_file.valid_at_min, lake_file.valid_at_max, lake_file.created_at_min, lake_file.created_at_max, lake_file.timed_by, lake_file.end_version IS NULL AS live
FROM lake.lake_file
JOIN lake.lake_table ON lake_table.id = lake_file.table_id
WHERE lake_table.name = $1
ORDER BY lake_file.first_commit, lake_file.path
