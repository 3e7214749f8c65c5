-- The rows of a source ($1) that its stream brought were taken away.
UPDATE catalog.stream_partition SET rows = 0, dead_letters = 0, newest_event_at = NULL WHERE source = $1
