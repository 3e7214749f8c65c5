-- Makes steps ready: one job for each, numbered on from the attempts that the step has had.
-- $1 ids, $2 runs, $3 steps, $4 kinds, $5 priorities, $6 concurrency keys, $7 crashes at most.
INSERT INTO job (id, run_id, step, kind, priority, run_at, concurrency_key, max_crashes, attempt)
SELECT id, run_id, step, kind, priority, now(), concurrency_key, max_crashes,
       coalesce((SELECT max(attempt) FROM attempt
                 WHERE attempt.run_id = ready.run_id AND attempt.step = ready.step), 0)
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::integer[])
    AS ready (id, run_id, step, kind, priority, concurrency_key, max_crashes)
