-- How far the topics of streams are read, and by whom.

-- A partition of a topic, as one source reads it. What is said of offsets moves in the transaction that publishes the rows,
-- so no record is in the lake twice or not at all, whoever reads, and however many believe that they do.
CREATE TABLE stream_partition (
    source text NOT NULL,
    -- Kafka's own id of the cluster: another cluster's offsets mean nothing here.
    cluster text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL CHECK (partition BETWEEN 0 AND 4095),
    -- Which of the topics that the source has read under this number it is, counted from 0: another topic, another cluster,
    -- offsets that began again. It is part of `seq`, so that no two records of a source share one.
    generation smallint NOT NULL CHECK (generation BETWEEN 0 AND 63),
    -- The topic was read before the partition was found: all of it came since.
    found_later boolean NOT NULL,
    -- The first offset that is not in the lake; null: where reading begins is not known yet.
    next_offset bigint CHECK (next_offset >= 0),
    -- The data clock at which the last batch was cut: it never falls, whatever the clocks of two gateways say.
    created_at timestamptz,
    -- A batch under way: its id, where it ends, the run that brings it.
    batch uuid,
    batch_to bigint,
    run uuid,
    -- The reader that holds the partition, and until when, by the database's clock.
    holder uuid,
    held_until timestamptz,
    -- The offset that the next record will get, as last heard of Kafka.
    high_offset bigint,
    -- The record's own time of the last one in the lake.
    reached_at timestamptz,
    -- When its last batch was committed, real time.
    moved_at timestamptz,
    rows bigint NOT NULL DEFAULT 0,
    dead_letters bigint NOT NULL DEFAULT 0,
    newest_event_at timestamptz,
    PRIMARY KEY (source, cluster, topic, partition),
    UNIQUE (source, partition, generation),
    CHECK ((batch IS NULL) = (batch_to IS NULL)),
    CHECK (batch_to > next_offset)
);
CREATE INDEX stream_partition_batch ON stream_partition (batch) WHERE batch IS NOT NULL;

-- Processes that read a stream, while they say so.
CREATE TABLE stream_reader (
    id uuid NOT NULL,
    source text NOT NULL,
    cluster text NOT NULL,
    topic text NOT NULL,
    -- For people: host and process.
    name text NOT NULL,
    seen_until timestamptz NOT NULL,
    -- Why nothing comes, if it doesn't.
    fault text,
    PRIMARY KEY (id, source)
);

-- Records that Kafka no longer had when they were to be read.
CREATE TABLE stream_gap (
    source text NOT NULL,
    cluster text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    -- The first offset that is missing, and the first after it that is there.
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    -- Their retention has passed, the end of the partition was cut off, or the topic was made anew.
    reason text NOT NULL CHECK (reason IN ('retention', 'truncated', 'topic made anew')),
    found_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stream_gap_source ON stream_gap (source, found_at);
