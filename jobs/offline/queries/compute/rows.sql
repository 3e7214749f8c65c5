-- Rows of a row view.
-- In:    {rows}: source rows with all their keys; {sound}: all columns, null for what is no value
-- Grain: one row for each of them
-- Out:   {keys}, {features}, valid_at, created_at, seq, deleted
-- Ties:  none: a row keeps its source row's place in the total order
SELECT {sound}
FROM (
    SELECT {keys}, {features} valid_at, created_at, seq, deleted
    FROM {rows}
)
ORDER BY {key_columns}, valid_at, created_at, seq
