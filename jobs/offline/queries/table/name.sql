-- The id of a table, made on its first commit.
-- $1 name, $2 what its files are sorted by
INSERT INTO lake.lake_table AS known (name, keys)
VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET keys = known.keys
RETURNING id, keys
