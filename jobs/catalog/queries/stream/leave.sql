-- A reader ($1) of a source's stream ($2) goes: what it held is anybody's at once.
WITH gone AS (
    DELETE FROM catalog.stream_reader WHERE id = $1 AND source = $2
)
UPDATE catalog.stream_partition
SET holder = NULL,
    held_until = NULL
WHERE source = $2 AND holder = $1
