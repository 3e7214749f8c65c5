-- Rows of a row view.
-- In:    {rows}: source rows; {present}: whether all keys are there; {part}: whether the entity is of this part
-- Grain: one row for each source row with all its keys
-- Out:   {keys}, {features}, valid_at, created_at, seq, deleted
-- Ties:  none: a row keeps its source row's place in the total order
SELECT {keys}, {features} valid_at, created_at, seq, deleted
FROM {rows}
WHERE {present} AND {part}
ORDER BY {key_columns}, valid_at, created_at, seq
