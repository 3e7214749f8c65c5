-- The tiles of which a row counts otherwise, or no longer.
-- In:    {touched}: as of compute/causes.sql; {hops}: how long tiles are, and the first that a window reaches
-- Grain: one row for each entity, hop and {tile}
-- Out:   {key_columns}, _hop_us, _tile
SELECT DISTINCT {key_columns}, _hop_us, _tile
FROM (
    SELECT {key_columns}, hop._hop_us, hop._first, {tile} AS _tile
    FROM (SELECT {key_columns}, epoch_us(valid_at) AS _valid_us FROM {touched})
    CROSS JOIN (VALUES {hops}) AS hop (_hop_us, _first)
)
WHERE _tile >= _first
ORDER BY {key_columns}, _hop_us, _tile
