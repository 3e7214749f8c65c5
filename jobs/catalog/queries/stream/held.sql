-- What a reader ($4) holds of a stream ($1 source, $2 cluster, $3 topic), by partition.
SELECT partition, generation, found_later, next_offset, batch, batch_to, run, reached_at
FROM catalog.stream_partition
WHERE source = $1 AND cluster = $2 AND topic = $3 AND holder = $4
ORDER BY partition
