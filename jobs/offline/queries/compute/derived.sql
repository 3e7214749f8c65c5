-- Rows of a derived view.
-- In:    {moments} (keys, valid_at, the inputs' features as of then)
-- Grain: one row for each moment
-- Out:   {keys}, {features}, valid_at, created_at, seq, deleted
SELECT {keys}, {features} valid_at, {created_at} AS created_at, {seq}::BIGINT AS seq, false AS deleted
FROM {moments}
ORDER BY {keys}, valid_at
