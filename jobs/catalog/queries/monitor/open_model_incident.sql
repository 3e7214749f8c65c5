-- The incident of a live model that doesn't answer: the open one, which then says what holds now, else a new one with the
-- id $1.
INSERT INTO catalog.incident (id, model, state, summary)
VALUES ($1, $2, 'open', $3)
ON CONFLICT (model) WHERE state = 'open' AND rollout IS NULL DO UPDATE SET summary = excluded.summary
RETURNING id
