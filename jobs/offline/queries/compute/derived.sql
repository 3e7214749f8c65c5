-- Rows of a derived view.
-- In:    {moments} (keys, valid_at, the inputs' features as of then, `_gone`: none of them has anything any more);
--        {sound}: all columns, null for what is no value
-- Grain: one row for each moment
-- Out:   {keys}, {features}, valid_at, created_at, seq, deleted
SELECT {sound}
FROM (
    SELECT {keys}, {features} valid_at, {created_at} AS created_at, {seq}::BIGINT AS seq, _gone AS deleted
    FROM {moments}
)
ORDER BY {keys}, valid_at
