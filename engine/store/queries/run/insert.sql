-- A run of a pipeline, unless its key has started one before.
INSERT INTO run (id, pipeline, version, single, context, key, trigger, logical_time, state)
VALUES ($1, $2, $3, false, $4, $5, $6, $7, 'running')
ON CONFLICT (pipeline, key) DO NOTHING
