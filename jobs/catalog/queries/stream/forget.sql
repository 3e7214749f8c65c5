-- A source ($1) is gone: nothing is known of its stream any more.
WITH readers AS (
    DELETE FROM catalog.stream_reader WHERE source = $1
), gaps AS (
    DELETE FROM catalog.stream_gap WHERE source = $1
)
DELETE FROM catalog.stream_partition WHERE source = $1
