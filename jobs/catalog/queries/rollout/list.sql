-- Rollouts, newest first: those of the model $1, or of all; those that go on, or, with $2, at most so many whatever their state.
SELECT id, model, alias, control, candidate, plan, step, step_began_at, state, reason, began_at, ended_at
FROM catalog.rollout
WHERE ($1::text IS NULL OR model = $1) AND ($2::bigint IS NOT NULL OR state = 'running')
ORDER BY id DESC
LIMIT $2
