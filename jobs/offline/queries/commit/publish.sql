-- Publishes files as one commit of a table, once for a job key, by a transaction that holds the head. Returns the version
-- and whether it is new. The table is made by its first commit.
-- $1 table, $2 what its files are sorted by, $3 job key, $4 kind, $5 rows, then one array element for each file:
-- $6 $7 first and last commit (null: this one), $8 paths, $9 rows, $10 sizes, $11 $12 least and greatest valid_at,
-- $13 $14 of created_at, $15 the column that valid_at is from
WITH made AS (
    INSERT INTO lake.lake_table (name, keys)
    VALUES ($1, $2)
    ON CONFLICT (name) DO NOTHING
    RETURNING id
),
named AS (
    SELECT id FROM made
    UNION ALL
    SELECT id FROM lake.lake_table WHERE name = $1
),
earlier AS (
    SELECT version
    FROM lake.lake_commit
    WHERE table_id = (SELECT id FROM named)
      AND job_key = $3
),
advanced AS (
    UPDATE lake.lake_head
    SET head = head + 1
    WHERE NOT EXISTS (SELECT FROM earlier)
    RETURNING head
),
published AS (
    INSERT INTO lake.lake_commit (version, table_id, job_key, kind, rows)
    SELECT advanced.head, named.id, $3, $4, $5
    FROM advanced
    CROSS JOIN named
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
        $6::bigint[], $7::bigint[], $8::text[], $9::bigint[], $10::bigint[],
        $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::text[]
    ) AS file (
        first_commit, last_commit, path, rows, size_bytes, valid_at_min, valid_at_max, created_at_min, created_at_max,
        timed_by
    )
)
SELECT version, true AS fresh FROM published
UNION ALL
SELECT version, false FROM earlier
