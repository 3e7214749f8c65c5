-- What Kafka says of the ends ($5) of partitions ($4) of a stream ($1 source, $2 cluster, $3 topic).
UPDATE catalog.stream_partition AS of
SET high_offset = heard.high_offset
FROM unnest($4::integer[], $5::bigint[]) AS heard (partition, high_offset)
WHERE of.source = $1 AND of.cluster = $2 AND of.topic = $3 AND of.partition = heard.partition
    AND of.high_offset IS DISTINCT FROM heard.high_offset
