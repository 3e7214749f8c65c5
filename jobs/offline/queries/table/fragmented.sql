-- Tables of which a tier holds many small files.
-- $1 rows from which a file belongs to the next tier, $2 rows and $3 bytes from which it is large, $4 how many are many
SELECT DISTINCT name
FROM (
    SELECT lake_table.name
    FROM lake.lake_file
    JOIN lake.lake_table ON lake_table.id = lake_file.table_id
    WHERE lake_file.end_version IS NULL
      AND lake_file.rows < $2
      AND lake_file.size_bytes < $3
    GROUP BY lake_table.name, width_bucket(lake_file.rows, $1::bigint[])
    HAVING count(*) >= $4
) AS fragmented
ORDER BY name
