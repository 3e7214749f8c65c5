-- Every table that was ever published to.
SELECT name
FROM lake.lake_table
ORDER BY name
