-- Closes a monitor's incident once $4 windows after it are clean, or its only window is, scanned again. Clean is what was
-- judged and is within every limit: neither what couldn't be judged nor what is above a warning.
UPDATE catalog.incident
SET state = 'closed', closed_at = now()
WHERE monitor = $1
  AND state = 'open'
  AND (
    (window_from = $2 AND window_to = $3)
    OR (
        SELECT count(*)
        FROM catalog.monitor_scan AS scan
        WHERE scan.monitor = $1 AND scan.status = 'ok' AND scan.window_from >= incident.window_to
    ) >= $4
  )
