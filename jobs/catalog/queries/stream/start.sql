-- Where reading of partitions ($4) of a stream ($1 source, $2 cluster, $3 topic) begins ($5), of those that never were read.
UPDATE catalog.stream_partition AS of
SET next_offset = begun.next_offset
FROM unnest($4::integer[], $5::bigint[]) AS begun (partition, next_offset)
WHERE of.source = $1 AND of.cluster = $2 AND of.topic = $3 AND of.partition = begun.partition
    AND of.next_offset IS NULL
