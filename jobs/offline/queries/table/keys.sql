-- What a table's files are sorted by.
-- $1 name
SELECT keys
FROM lake.lake_table
WHERE name = $1
