-- Locks the partitions of all that a source ($1) reads, in their order.
SELECT FROM catalog.stream_partition
WHERE source = $1
ORDER BY cluster, topic, partition
FOR NO KEY UPDATE
