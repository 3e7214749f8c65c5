-- The point-in-time join of one view with rows, where a row counts only from the moment it was accepted.
-- In:    as newest.sql; {packed}: the row as a struct that begins with its order
-- Grain: one row for each label row, in order
-- Out:   {outputs}
-- Ties:  a running maximum of the order over the moments at which rows became known; rows known at the same
--        moment are peers and all have the same maximum
SELECT {outputs}
FROM label
ASOF LEFT JOIN (
    SELECT
        {key_columns},
        _known_at,
        max({packed}) OVER (PARTITION BY {key_columns} ORDER BY _known_at RANGE UNBOUNDED PRECEDING) AS _candidate
    FROM (SELECT *, greatest(valid_at, created_at) AS _known_at FROM {rows} AS stored SEMI JOIN label USING ({key_columns}))
) AS known
    ON {keys}
    AND label._at >= known._known_at
ORDER BY label._row
