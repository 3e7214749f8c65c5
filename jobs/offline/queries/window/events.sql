-- The source rows that windows of some entities may count, and from when until when each counts.
-- In:    asked (key, k0 …: one row for each entity); {rows}: source rows that may matter
-- Grain: one row for each source row of these entities that is not a deletion
-- Out:   key, valid_us, known_us (counts from then), until_us (exclusive; null: for ever), then {values}
-- Ties:  of rows that share the unique columns the greatest by (valid_at, created_at, seq) of those known counts
--        at a moment: a row ends where the first greater one becomes known
WITH life AS (
    SELECT
        *,
        epoch_us(valid_at) AS valid_us,
        {known} AS known_us,
        {until} AS until_us
    FROM {rows}
)
SELECT asked.key, life.valid_us, life.known_us, life.until_us, {values}
FROM life
JOIN asked ON {keys}
WHERE NOT life.deleted
  AND (life.until_us IS NULL OR life.until_us > life.known_us)
ORDER BY asked.key, life.valid_at, life.created_at, life.seq
