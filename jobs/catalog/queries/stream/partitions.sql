-- How far each partition that a source ($1) reads is, in the order of cluster, topic and number; who reads it, while he does.
SELECT
    of.cluster, of.topic, of.partition, of.next_offset, of.high_offset, of.reached_at, of.moved_at, of.rows,
    of.dead_letters, of.newest_event_at, of.run,
    CASE WHEN of.held_until > now() THEN reader.name END AS reader,
    CASE WHEN of.held_until > now() THEN of.holder END AS holder
FROM catalog.stream_partition AS of
LEFT JOIN catalog.stream_reader AS reader ON reader.id = of.holder AND reader.source = of.source
WHERE of.source = $1
ORDER BY of.cluster, of.topic, of.partition
