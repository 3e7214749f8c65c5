-- Locks the partitions of a stream ($1 source, $2 cluster, $3 topic) in their order, so that two who change several of them
-- can't wait for each other.
SELECT FROM catalog.stream_partition
WHERE source = $1 AND cluster = $2 AND topic = $3
ORDER BY partition
FOR NO KEY UPDATE
