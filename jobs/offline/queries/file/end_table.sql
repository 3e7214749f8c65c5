-- Ends all files of a table with a version ($2): versions from it on don't read them.
UPDATE lake.lake_file
SET end_version = $2, ended_at = now()
WHERE table_id = (SELECT id FROM lake.lake_table WHERE name = $1)
  AND end_version IS NULL
