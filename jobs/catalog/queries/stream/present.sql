-- A reader ($1, named $5) of a stream ($2 source, $3 cluster, $4 topic) is there for $6 seconds; $7: what keeps it, if
-- anything does. Readers that were not heard of for a day are forgotten.
WITH gone AS (
    DELETE FROM catalog.stream_reader WHERE source = $2 AND seen_until < now() - interval '1 day'
)
INSERT INTO catalog.stream_reader (id, source, cluster, topic, name, seen_until, fault)
VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6), $7)
ON CONFLICT (id, source) DO UPDATE
SET cluster = excluded.cluster,
    topic = excluded.topic,
    seen_until = excluded.seen_until,
    fault = excluded.fault
