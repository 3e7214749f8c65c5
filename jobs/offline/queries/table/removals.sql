-- How often rows of some tables were taken away.
-- $1 names
SELECT coalesce(sum(removals), 0)::bigint
FROM lake.lake_table
WHERE name = ANY($1)
