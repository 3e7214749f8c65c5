-- The incident of a failing window: the closed one that told of it before, else the monitor's open one, else a new one
-- with the id $1.
WITH told AS (
    SELECT id
    FROM catalog.incident
    WHERE monitor = $2 AND state = 'closed' AND window_from <= $3 AND window_to >= $4
    ORDER BY opened_at DESC
    LIMIT 1
),
failing AS (
    INSERT INTO catalog.incident (id, monitor, state, window_from, window_to, summary)
    SELECT $1, $2, 'open', $3, $4, $5
    WHERE NOT EXISTS (SELECT FROM told)
    ON CONFLICT (monitor) WHERE state = 'open' DO UPDATE SET
        window_from = least(incident.window_from, excluded.window_from),
        window_to = greatest(incident.window_to, excluded.window_to),
        summary = excluded.summary
    RETURNING id
)
SELECT id FROM failing
UNION ALL
SELECT id FROM told
