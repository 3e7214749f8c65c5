-- How often rows of some tables were taken away; nobody takes any away until the transaction ends.
-- $1 names
SELECT removals
FROM lake.lake_table
WHERE name = ANY($1)
ORDER BY name
FOR SHARE
