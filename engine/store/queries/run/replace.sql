-- Fields of the map $2 take the place of those of the same name in the context of the run $1, and in the args of its steps
-- that are still to be done.
WITH context AS (
    UPDATE run SET context = context || fields.known
    FROM (SELECT coalesce(jsonb_object_agg(field.key, field.value), '{}') AS known
          FROM run, jsonb_each($2) AS field
          WHERE run.id = $1 AND jsonb_typeof(run.context) = 'object' AND run.context ? field.key) AS fields
    WHERE run.id = $1 AND jsonb_typeof(context) = 'object'
)
UPDATE step
SET args = args || (SELECT coalesce(jsonb_object_agg(field.key, field.value), '{}')
                    FROM jsonb_each($2) AS field WHERE args ? field.key)
WHERE run_id = $1 AND state IN ('ready', 'pending') AND jsonb_typeof(args) = 'object'
