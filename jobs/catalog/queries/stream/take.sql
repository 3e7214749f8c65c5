-- Gives a reader ($4) partitions of a stream ($1 source, $2 cluster, $3 topic) that nobody holds any more, until it has its
-- share ($5), for $6 seconds. They are locked.
UPDATE catalog.stream_partition
SET holder = $4,
    held_until = now() + make_interval(secs => $6)
WHERE source = $1 AND cluster = $2 AND topic = $3 AND partition = ANY(ARRAY(
    SELECT partition FROM catalog.stream_partition
    WHERE source = $1 AND cluster = $2 AND topic = $3 AND (holder IS NULL OR held_until < now())
    ORDER BY partition
    LIMIT greatest(0, $5 - (
        SELECT count(*) FROM catalog.stream_partition
        WHERE source = $1 AND cluster = $2 AND topic = $3 AND holder = $4))))
