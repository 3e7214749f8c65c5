-- What a reader ($5) holds of a batch ($4) of a stream ($1 source, $2 cluster, $3 topic) whose run is over becomes a batch
-- of its own ($6): nothing that the old run may still do counts for it.
UPDATE catalog.stream_partition
SET batch = $6
WHERE source = $1 AND cluster = $2 AND topic = $3 AND batch = $4 AND holder = $5
RETURNING partition, generation, next_offset, batch_to, created_at
