-- How many rows of a source use a column before it was known.
-- In:    {rows}: source rows; {used_at}, {known_at}: two of its timestamps
-- Grain: one row
-- Out:   rows, early: those known only later than used, median_seconds: by how much, null without such a row
-- Ties:  a value known at the very moment of its use is not early
SELECT
    count(*) AS "rows",
    count(*) FILTER (WHERE {known_at} > {used_at}) AS early,
    median(epoch({known_at}) - epoch({used_at})) FILTER (WHERE {known_at} > {used_at}) AS median_seconds
FROM {rows}
