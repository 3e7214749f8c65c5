-- The entities whose last rows may change.
-- In:    {touched}: as of causes.sql
-- Grain: one row for each entity
-- Out:   its keys
SELECT DISTINCT {key_columns}
FROM {touched}
ORDER BY {key_columns}
