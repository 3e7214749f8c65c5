-- A batch ($8) of a stream ($1 source, $2 cluster, $3 topic) is cut by a reader ($4): of partitions ($5) the records from an
-- offset ($6) to before another ($7). Its moment is the data clock ($9), or that of an earlier batch where it is later.
-- Returns a row for each partition that is still there to be cut: not read further, no batch under way, held by the reader.
WITH wanted AS (
    SELECT * FROM unnest($5::integer[], $6::bigint[], $7::bigint[]) AS wanted (partition, from_offset, to_offset)
), free AS MATERIALIZED (
    SELECT of.partition, of.created_at, wanted.to_offset
    FROM catalog.stream_partition AS of
    JOIN wanted ON wanted.partition = of.partition AND wanted.from_offset = of.next_offset
    WHERE of.source = $1 AND of.cluster = $2 AND of.topic = $3 AND of.holder = $4 AND of.batch IS NULL
), moment AS (
    SELECT greatest($9, max(created_at)) AS created_at FROM free
)
UPDATE catalog.stream_partition AS of
SET batch = $8,
    batch_to = free.to_offset,
    created_at = moment.created_at
FROM free, moment
WHERE of.source = $1 AND of.cluster = $2 AND of.topic = $3 AND of.partition = free.partition
RETURNING of.created_at
