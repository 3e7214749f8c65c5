-- The entities whose tiles or last rows may change: those of new rows, of rows that the clock passed and, with unique
-- columns, of all rows that one of these replaces.
-- In:    {changed}: the new rows that the clock has reached; {passed}: rows that it passed; {touched}: the causes, or what
--        they replace with them
-- Grain: one row for each entity
-- Out:   its keys
WITH cause AS MATERIALIZED (
    SELECT * FROM {changed}
    UNION ALL
    SELECT * FROM {passed}
)
SELECT DISTINCT {key_columns}
FROM {touched}
WHERE {present}
ORDER BY {key_columns}
