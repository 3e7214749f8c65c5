-- Of dead letters of a stream ($1 source, $2 cluster, $3 topic) these of each partition ($4, $5) are rows now.
UPDATE catalog.stream_partition AS of
SET rows = of.rows + revived.rows,
    dead_letters = of.dead_letters - revived.rows
FROM unnest($4::integer[], $5::bigint[]) AS revived (partition, rows)
WHERE of.source = $1 AND of.cluster = $2 AND of.topic = $3 AND of.partition = revived.partition
