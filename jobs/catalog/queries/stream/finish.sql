-- A batch ($4) of a stream ($1 source, $2 cluster, $3 topic) is in the lake: partitions ($5) from an offset ($6) to before
-- another ($7), with rows ($8), dead letters ($9), newest event ($10) and time of the last record ($11) of each.
-- Changes a row for each partition of which just this is under way.
UPDATE catalog.stream_partition AS of
SET next_offset = done.to_offset,
    batch = NULL,
    batch_to = NULL,
    run = NULL,
    moved_at = clock_timestamp(),
    high_offset = greatest(of.high_offset, done.to_offset),
    rows = of.rows + done.rows,
    dead_letters = of.dead_letters + done.dead_letters,
    newest_event_at = greatest(of.newest_event_at, done.newest_event_at),
    reached_at = coalesce(done.reached_at, of.reached_at)
FROM unnest($5::integer[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::timestamptz[],
            $11::timestamptz[])
    AS done (partition, from_offset, to_offset, rows, dead_letters, newest_event_at, reached_at)
WHERE of.source = $1 AND of.cluster = $2 AND of.topic = $3 AND of.batch = $4
    AND of.partition = done.partition AND of.next_offset = done.from_offset AND of.batch_to = done.to_offset
