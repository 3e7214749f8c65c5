-- Counts that rows of some tables are taken away, after those who hold the count. All at once, in the order in which it is
-- held.
-- $1 names
WITH counted AS (
    SELECT id
    FROM lake.lake_table
    WHERE name = ANY($1)
    ORDER BY name
    FOR NO KEY UPDATE
)
UPDATE lake.lake_table
SET removals = removals + 1
WHERE id IN (SELECT id FROM counted)
RETURNING name
