-- Another file stands for one ($1) at every version that reads it.
-- $2 path, $3 rows, $4 size, $5 $6 least and greatest valid_at, $7 $8 of created_at
UPDATE lake.lake_file
SET path = $2, rows = $3, size_bytes = $4, valid_at_min = $5, valid_at_max = $6, created_at_min = $7, created_at_max = $8
WHERE path = $1
