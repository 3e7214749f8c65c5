-- What its publication found out. Safe to repeat.
UPDATE catalog.upload
SET published_at = coalesce(published_at, clock_timestamp()),
    rows = $2,
    dead_letters = $3,
    lake_version = $4,
    newest_event_at = $5,
    naive_timestamps = $6,
    ignored = $7
WHERE id = $1
