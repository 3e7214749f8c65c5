-- All chunks of an upload, by place in the arrays.
INSERT INTO catalog.chunk (upload, number, starts_at, ends_at, rows_before, lines_before)
SELECT $1, number, starts_at, ends_at, rows_before, lines_before
FROM unnest($2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS planned (number, starts_at, ends_at, rows_before, lines_before)
