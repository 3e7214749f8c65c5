-- A partition ($4) of a stream ($1 source, $2 cluster, $3 topic) goes on at $6 instead of $5, where Kafka has nothing, for
-- a reason ($7); unless a batch is under way.
WITH moved AS (
    UPDATE catalog.stream_partition
    SET next_offset = $6
    WHERE source = $1 AND cluster = $2 AND topic = $3 AND partition = $4 AND next_offset = $5 AND batch IS NULL
    RETURNING source
)
INSERT INTO catalog.stream_gap (source, cluster, topic, partition, from_offset, to_offset, reason)
SELECT source, $2, $3, $4, $5, $6, $7 FROM moved
