-- A partition ($4) of a stream ($1 source, $2 cluster, $3 topic) goes on at $6 instead of $5, where Kafka has nothing, for
-- a reason ($7); unless a batch is under way. Offsets that are used again ($8) are another generation's.
WITH moved AS (
    UPDATE catalog.stream_partition AS of
    SET next_offset = $6,
        generation = CASE WHEN $8 THEN (
            SELECT max(other.generation) + 1 FROM catalog.stream_partition AS other
            WHERE other.source = $1 AND other.partition = $4) ELSE of.generation END
    WHERE source = $1 AND cluster = $2 AND topic = $3 AND partition = $4 AND next_offset = $5 AND batch IS NULL
    RETURNING source
)
INSERT INTO catalog.stream_gap (source, cluster, topic, partition, from_offset, to_offset, reason)
SELECT source, $2, $3, $4, $5, $6, $7 FROM moved
