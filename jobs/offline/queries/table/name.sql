-- The id of a table, made on its first commit by a transaction that holds the head.
-- $1 name, $2 what its files are sorted by
WITH made AS (
    INSERT INTO lake.lake_table (name, keys)
    VALUES ($1, $2)
    ON CONFLICT (name) DO NOTHING
    RETURNING id
)
SELECT id FROM made
UNION ALL
SELECT id FROM lake.lake_table WHERE name = $1
