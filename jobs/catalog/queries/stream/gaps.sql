-- The last gaps of a source's stream ($1), newest first; at most $2.
SELECT topic, partition, from_offset, to_offset, reason, found_at
FROM catalog.stream_gap
WHERE source = $1
ORDER BY found_at DESC, partition
LIMIT $2
