-- Writes down how far a rollout is and what its judge has seen; what it waits for is its reason.
UPDATE catalog.rollout
SET step = $2, step_began_at = CASE WHEN step = $2 THEN step_began_at ELSE now() END, reason = $3, evidence = $4::jsonb
WHERE id = $1 AND state = 'running'
