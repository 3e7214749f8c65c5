-- Children of the completed steps ($1 runs, $2 names) wait for one parent less each; returns those that wait for none.
-- The runs are locked already, so two parents that end at once can't both miss the last one.
WITH parents AS (
    SELECT * FROM unnest($1::uuid[], $2::text[]) AS parents (run_id, name)
), fewer AS (
    SELECT edge.run_id, edge.child, count(*)::integer AS done
    FROM step_edge AS edge JOIN parents ON edge.run_id = parents.run_id AND edge.parent = parents.name
    GROUP BY edge.run_id, edge.child
    ORDER BY edge.run_id, edge.child
)
UPDATE step
SET pending_deps = pending_deps - fewer.done,
    state = CASE WHEN pending_deps = fewer.done AND state = 'pending' THEN 'ready' ELSE state END
FROM fewer
WHERE step.run_id = fewer.run_id AND step.name = fewer.child
RETURNING step.run_id, step.name, step.kind, step.policy, step.priority, step.concurrency_key,
          step.pending_deps = 0 AND step.state = 'ready' AS ready
