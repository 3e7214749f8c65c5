-- Makes a table, with its first commit. A statement of its own: the next one sees it, whoever made it.
-- $1 name, $2 what its files are sorted by
INSERT INTO lake.lake_table (name, keys)
VALUES ($1, $2)
ON CONFLICT (name) DO NOTHING
