-- The incident of a rollback.
INSERT INTO catalog.incident (id, model, rollout, state, summary)
VALUES ($1, $2, $3, 'open', $4)
