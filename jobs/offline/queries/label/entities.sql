-- The entities that the rows of a view name.
-- In:    {named}: keys and valid_at of these rows
-- Grain: one row for each entity without a null in its keys
-- Out:   {keys}, _first_us: when it was named first; sorted by the keys
SELECT {keys}, epoch_us(min(valid_at)) AS _first_us
FROM {named}
WHERE {present}
GROUP BY {keys}
ORDER BY {keys}
