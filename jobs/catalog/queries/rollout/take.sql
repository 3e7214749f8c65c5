-- A rollout that goes on, and its evidence, for one judge at a time.
SELECT id, model, alias, control, candidate, plan, step, step_began_at, state, reason, began_at, ended_at, evidence
FROM catalog.rollout
WHERE id = $1 AND state = 'running'
FOR UPDATE SKIP LOCKED
