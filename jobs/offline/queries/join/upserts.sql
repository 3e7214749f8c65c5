-- The rows of a source that decide which row is the last one of some entities, where rows replace each other.
-- In:    asked (_entity, the keys: one row for each entity); {rows}: source rows that may matter;
--        {covered}: the `seq` of those that the view has a row of, which are all that have their keys
-- Grain: one row for each row of every unique key that was ever one of theirs
-- Out:   _key, _entity (null: of another entity, or of none), _rank (among the rows of its key, the one that counts last), _valid_us, _created_us, seq, deleted
-- Ties:  none: rows in no order
SELECT
    min(life.seq) OVER same AS _key,
    asked._entity AS _entity,
    life._rank AS _rank,
    epoch_us(life.valid_at) AS _valid_us,
    epoch_us(life.created_at) AS _created_us,
    life.seq AS seq,
    life.deleted AS deleted
FROM (SELECT *, row_number() OVER ({order}) AS _rank FROM {rows} AS stored WHERE NOT ({present}) OR seq IN (FROM {covered})) AS life
LEFT JOIN asked ON {keys}
WINDOW same AS (PARTITION BY {unique})
QUALIFY bool_or(asked._entity IS NOT NULL) OVER same
