-- Keeps what was said of a window; the last scan of it counts.
INSERT INTO catalog.monitor_scan (monitor, window_from, window_to, status, body)
VALUES ($1, $2, $3, $4, CAST($5 AS json))
ON CONFLICT (monitor, window_from, window_to) DO UPDATE SET
    status = excluded.status,
    body = excluded.body,
    scanned_at = now()
