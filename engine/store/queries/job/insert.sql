-- Makes steps ready: one job for each. A key that waits already is left alone.
INSERT INTO job (id, run_id, step, kind, priority, run_at, key, concurrency_key, max_crashes)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::smallint[], $6::timestamptz[],
                     $7::text[], $8::text[], $9::integer[])
ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING
RETURNING id
