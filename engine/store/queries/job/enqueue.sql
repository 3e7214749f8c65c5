-- Enqueues single jobs, each a run of one step named after its kind, but none whose key waits already: such a job is
-- locked instead, in its place among the others, so that callers who ask in the order of keys wait for each other in it.
-- $1 runs, $2 jobs, $3 kinds, $4 args, $5 policies, $6 priorities, $7 not before (null: now), $8 keys,
-- $9 concurrency keys, $10 crashes at most. Returns the runs that were made.
WITH wanted AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::jsonb[], $5::jsonb[], $6::smallint[],
                         $7::timestamptz[], $8::text[], $9::text[], $10::integer[])
        AS wanted (run_id, id, kind, args, policy, priority, run_at, key, concurrency_key, max_crashes)
), queued AS (
    INSERT INTO job (id, run_id, step, kind, priority, run_at, key, concurrency_key, max_crashes)
    SELECT id, run_id, kind, kind, priority, coalesce(run_at, now()), key, concurrency_key, max_crashes FROM wanted
    ON CONFLICT (key) WHERE key IS NOT NULL AND first_started_at IS NULL
    DO UPDATE SET key = excluded.key WHERE false
    RETURNING run_id
), made AS (
    INSERT INTO run (id, pipeline, single, context, trigger, state)
    SELECT run_id, kind, true, 'null', 'job', 'running' FROM wanted JOIN queued USING (run_id)
)
INSERT INTO step (run_id, name, position, kind, args, policy, priority, concurrency_key, pending_deps, state)
SELECT run_id, kind, 0, kind, args, policy, priority, concurrency_key, 0, 'ready' FROM wanted JOIN queued USING (run_id)
RETURNING run_id
