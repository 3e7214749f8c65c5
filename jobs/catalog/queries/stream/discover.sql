-- Writes down the partitions of a topic ($2 cluster, $3 topic, 0 to $4 - 1) that a source ($1) hasn't met yet.
INSERT INTO catalog.stream_partition (source, cluster, topic, partition)
SELECT $1, $2, $3, partition FROM generate_series(0, $4 - 1) AS partition
ON CONFLICT DO NOTHING
