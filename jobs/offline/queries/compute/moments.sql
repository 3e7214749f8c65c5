-- The moments of a Python view over views to compute.
-- In:    {all}: keys and valid_at of every row of every input; {changed}: of those that are new
-- Grain: one row for each entity and moment from the entity's earliest new row on
-- Out:   {key_columns}, valid_at
WITH since AS (
    SELECT {key_columns}, min(valid_at) AS _since
    FROM {changed}
    WHERE {present} AND {part}
    GROUP BY ALL
)
SELECT DISTINCT {moment_keys}, moment.valid_at
FROM {all} AS moment
JOIN since ON {same_keys} AND moment.valid_at >= since._since
ORDER BY ALL
