-- The incident of a failing window: the closed one that told of it before, else the monitor's open one, else a new one
-- with the id $1. An incident that its own window, scanned again, had closed is opened again by the same window, unless
-- $6 windows after it are clean.
WITH told AS (
    SELECT id, window_from = $3 AND window_to = $4 AS alone
    FROM catalog.incident
    WHERE monitor = $2 AND state = 'closed' AND window_from <= $3 AND window_to >= $4
    ORDER BY opened_at DESC
    LIMIT 1
),
reopened AS (
    UPDATE catalog.incident
    SET state = 'open', closed_at = NULL, summary = $5
    WHERE id = (SELECT id FROM told WHERE alone)
      AND NOT EXISTS (SELECT FROM catalog.incident AS other WHERE other.monitor = $2 AND other.state = 'open')
      AND (
          SELECT count(*)
          FROM catalog.monitor_scan AS scan
          WHERE scan.monitor = $2 AND scan.status = 'ok' AND scan.window_from >= $4
      ) < $6
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
