-- Publishes files as one commit of a table, once for a job key: nothing if it was published before. Returns the number below
-- 0 that stands for its version until COMMIT. Whoever publishes the same at the same time is waited for.
-- $1 table, $2 job key, $3 kind, $4 rows, then one array element for each file:
-- $5 $6 first and last commit (null: this one), $7 paths, $8 rows, $9 sizes, $10 $11 least and greatest valid_at,
-- $12 $13 of created_at, $14 the column that valid_at is from
WITH published AS (
    INSERT INTO lake.lake_commit (version, table_id, job_key, kind, rows)
    SELECT -nextval('lake.lake_unnumbered'), id, $2, $3, $4
    FROM lake.lake_table
    WHERE name = $1
    ON CONFLICT (table_id, job_key) DO NOTHING
    RETURNING version, table_id
),
filed AS (
    INSERT INTO lake.lake_file (
        table_id, begin_version, first_commit, last_commit,
        path, rows, size_bytes, valid_at_min, valid_at_max, created_at_min, created_at_max, timed_by
    )
    SELECT
        published.table_id, published.version,
        coalesce(file.first_commit, published.version), coalesce(file.last_commit, published.version),
        file.path, file.rows, file.size_bytes,
        file.valid_at_min, file.valid_at_max, file.created_at_min, file.created_at_max, file.timed_by
    FROM published
    CROSS JOIN unnest(
        $5::bigint[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[],
        $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[]
    ) AS file (
        first_commit, last_commit, path, rows, size_bytes, valid_at_min, valid_at_max, created_at_min, created_at_max,
        timed_by
    )
)
SELECT version FROM published
