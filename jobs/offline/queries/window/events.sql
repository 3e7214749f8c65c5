-- The source rows that windows of some entities may count, and from when until when each counts.
-- In:    asked (_entity, the keys: one row for each entity); {rows}: source rows that may matter
-- Grain: one row for each source row of these entities that is not a deletion
-- Out:   _entity, _valid_us, _known_us (counts from then), _until_us (exclusive; null: for ever), then {values}
-- Ties:  of rows that share the unique columns the greatest by (valid_at, created_at, seq) of those known counts
--        at a moment: a row ends where the first greater one becomes known; without unique columns, where the
--        first greater tombstone of its entity does
WITH life AS (
    SELECT
        *,
        epoch_us(valid_at) AS _valid_us,
        {known} AS _known_us,
        {until} AS _until_us
    FROM {rows}
)
SELECT asked._entity, life._valid_us, life._known_us, life._until_us, {values}
FROM life
JOIN asked ON {keys}
WHERE NOT life.deleted
  AND (life._until_us IS NULL OR life._until_us > life._known_us)
ORDER BY asked._entity, life.valid_at, life.created_at, life.seq
