-- Prolongs what a reader ($4) holds of a stream ($1 source, $2 cluster, $3 topic) by $6 seconds, up to its share ($5): what
-- is beyond, it lets go. Which ones stay is the same each time.
WITH own AS (
    SELECT partition, row_number() OVER (ORDER BY partition) <= $5 AS stays
    FROM catalog.stream_partition
    WHERE source = $1 AND cluster = $2 AND topic = $3 AND holder = $4
)
UPDATE catalog.stream_partition AS of
SET holder = CASE WHEN own.stays THEN $4 END,
    held_until = CASE WHEN own.stays THEN now() + make_interval(secs => $6) END
FROM own
WHERE of.source = $1 AND of.cluster = $2 AND of.topic = $3 AND of.partition = own.partition AND of.holder = $4
