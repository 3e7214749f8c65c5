-- Rows of a row view.
-- In:    {rows}: source rows with all their keys; {finite}: all columns, floats that are no finite number as null
-- Grain: one row for each of them
-- Out:   {keys}, {features}, valid_at, created_at, seq, deleted
-- Ties:  none: a row keeps its source row's place in the total order
SELECT {finite}
FROM (
    SELECT {keys}, {features} valid_at, created_at, seq, deleted
    FROM {rows}
)
ORDER BY {key_columns}, valid_at, created_at, seq
