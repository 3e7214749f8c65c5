-- Begins a rollout, unless one of the alias goes on.
INSERT INTO catalog.rollout (id, model, alias, control, candidate, plan)
VALUES ($1, $2, $3, $4, $5, $6::jsonb)
ON CONFLICT (model, alias) WHERE state = 'running' DO NOTHING
