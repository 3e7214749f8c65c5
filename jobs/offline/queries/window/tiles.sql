-- The rows that count in tiles.
-- In:    touched (_place, the keys, _hop_us, _tile: one row for each tile); {rows}: source rows that may matter;
--        {hops}: how long tiles are; {clock_us}: the moment as of which rows count
-- Grain: one row for each of its tiles and each source row that counts
-- Out:   _place, _valid_us, then {values}: as of events.sql
-- Ties:  a row ends where the next one of its unique columns, or a tombstone of its entity, becomes known
WITH life AS (
    SELECT *, epoch_us(valid_at) AS _valid_us, {until} AS _until_us
    FROM {rows}
),
lying AS (
    SELECT life.*, hop._hop_us, {tile} AS _tile
    FROM life
    CROSS JOIN (VALUES {hops}) AS hop (_hop_us)
    WHERE NOT life.deleted
      AND (life._until_us IS NULL OR life._until_us > {clock_us})
),
-- A feature's SQL names columns as the source does, so those of `touched` stay out of its way.
counted AS (
    SELECT touched._place, lying.*
    FROM lying
    JOIN touched ON {keys} AND touched._hop_us = lying._hop_us AND touched._tile = lying._tile
),
valued AS (
    SELECT _place, _valid_us, valid_at, created_at, seq, {values}
    FROM counted
)
SELECT {sound}
FROM valued
ORDER BY _place, valid_at, created_at, seq
