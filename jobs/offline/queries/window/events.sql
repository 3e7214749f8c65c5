-- The source rows that windows of some entities may count, and from when until when each counts.
-- In:    asked (_entity, the keys: one row for each entity); {rows}: source rows that may matter
-- Grain: one row for each source row of these entities that is not a deletion, in no order
-- Out:   _entity, _valid_us, _created_us, seq, _until_us (exclusive; null: for ever), _strict_until_us (the same where a row
--        counts only from when it was accepted), {values}: null where the row does not count in that feature, its SQL fails,
--        or it makes what no value is ({sound})
-- Ties:  of rows that share the unique columns the greatest by (valid_at, created_at, seq) of those known counts
--        at a moment: a row ends where the first greater one becomes known; without unique columns, where the
--        first greater tombstone of its entity does
WITH life AS (
    SELECT
        *,
        epoch_us(valid_at) AS _valid_us,
        {until} AS _until_us,
        {strict} AS _strict_until_us
    FROM {rows}
),
-- A feature's SQL names columns as the source does, so those of `asked` stay out of its way.
counted AS (
    SELECT asked._entity, life.*
    FROM life
    JOIN asked ON {keys}
    WHERE NOT life.deleted
      AND ({counts})
),
valued AS (
    SELECT _entity, _valid_us, epoch_us(created_at) AS _created_us, seq, _until_us, _strict_until_us, {values}
    FROM counted
)
SELECT {sound}
FROM valued
