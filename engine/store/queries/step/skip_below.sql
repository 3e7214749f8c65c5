-- Skips everything below the skipped steps ($1 runs, $2 names) that still waits.
WITH RECURSIVE below AS (
    SELECT edge.run_id, edge.child
    FROM step_edge AS edge
    JOIN unnest($1::uuid[], $2::text[]) AS skipped (run_id, name)
      ON edge.run_id = skipped.run_id AND edge.parent = skipped.name
    UNION
    SELECT edge.run_id, edge.child
    FROM step_edge AS edge JOIN below ON edge.run_id = below.run_id AND edge.parent = below.child
)
UPDATE step
SET state = 'skipped', reason = 'a step it needs was skipped', finished_at = now()
FROM below
WHERE step.run_id = below.run_id AND step.name = below.child AND step.state = 'pending'
