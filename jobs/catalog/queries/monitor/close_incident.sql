-- Closes a monitor's incident once $4 windows after it are clean, or its only window is, scanned again.
UPDATE catalog.incident
SET state = 'closed', closed_at = now()
WHERE monitor = $1
  AND state = 'open'
  AND (
    (window_from = $2 AND window_to = $3)
    OR (
        SELECT count(*)
        FROM catalog.monitor_scan AS scan
        WHERE scan.monitor = $1 AND scan.status IN ('ok', 'warn') AND scan.window_from >= incident.window_to
    ) >= $4
  )
