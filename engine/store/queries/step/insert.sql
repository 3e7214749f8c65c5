-- The steps of the run $1 in declared order, and who waits for whom.
-- $2 names, $3 kinds, $4 args, $5 conditions, $6 policies, $7 priorities, $8 concurrency keys, $9 parents to wait
-- for; $10 parents and $11 children of the edges.
WITH edges AS (
    INSERT INTO step_edge (run_id, parent, child)
    SELECT $1, parent, child FROM unnest($10::text[], $11::text[]) AS edges (parent, child)
)
INSERT INTO step (run_id, name, position, kind, args, condition, policy, priority, concurrency_key, pending_deps, state)
SELECT $1, name, position - 1, kind, args, condition, policy, priority, concurrency_key, waits,
       CASE waits WHEN 0 THEN 'ready' ELSE 'pending' END
FROM unnest($2::text[], $3::text[], $4::jsonb[], $5::text[], $6::jsonb[], $7::smallint[], $8::text[], $9::integer[])
    WITH ORDINALITY AS steps (name, kind, args, condition, policy, priority, concurrency_key, waits, position)
