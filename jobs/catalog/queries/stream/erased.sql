-- Rows of a source ($1) that partitions ($2, of the generations $3) brought were erased ($4).
UPDATE catalog.stream_partition AS of
SET rows = of.rows - erased.rows
FROM unnest($2::integer[], $3::smallint[], $4::bigint[]) AS erased (partition, generation, rows)
WHERE of.source = $1 AND of.partition = erased.partition AND of.generation = erased.generation
