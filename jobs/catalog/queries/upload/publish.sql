-- What its publication found out. Safe to repeat.
UPDATE catalog.upload
SET published_at = coalesce(published_at, clock_timestamp()),
    rows = $2,
    dead_letters = $3,
    newest_event_at = $4,
    naive_timestamps = $5,
    ignored = $6
WHERE id = $1
