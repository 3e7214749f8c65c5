-- $1 table id, $2 begin version, then one array element for each file:
-- $3 $4 first and last commit, $5 paths, $6 rows, $7 sizes, $8 $9 least and greatest valid_at, $10 $11 of created_at
INSERT INTO lake.lake_file (
    table_id, begin_version,
    first_commit, last_commit, path, rows, size_bytes, valid_at_min, valid_at_max, created_at_min, created_at_max
)
SELECT $1, $2, file.*
FROM unnest(
    $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[],
    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[]
) AS file
