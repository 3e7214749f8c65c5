-- Writes down the partitions of a topic ($2 cluster, $3 topic, 0 to $4 - 1) that a source ($1) hasn't met yet.
INSERT INTO catalog.stream_partition (source, cluster, topic, partition, generation, found_later)
SELECT $1, $2, $3, number,
    (SELECT coalesce(max(of.generation) + 1, 0) FROM catalog.stream_partition AS of
     WHERE of.source = $1 AND of.partition = number),
    EXISTS (SELECT FROM catalog.stream_partition WHERE source = $1 AND cluster = $2 AND topic = $3)
FROM generate_series(0, $4 - 1) AS number
ON CONFLICT (source, cluster, topic, partition) DO NOTHING
