-- The fair share of a stream's partitions ($1 source, $2 cluster, $3 topic) for each of its readers that are there.
SELECT ceil(count(*)::numeric / greatest(1, (
    SELECT count(*) FROM catalog.stream_reader
    WHERE source = $1 AND cluster = $2 AND topic = $3 AND seen_until > now())))::integer
FROM catalog.stream_partition
WHERE source = $1 AND cluster = $2 AND topic = $3
