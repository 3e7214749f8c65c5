-- The entities whose tiles or last rows may change: those of new rows, of rows that the clock passed and, with unique
-- columns, of all rows that one of these replaces.
-- In:    {rows}: all source rows; {changed}: the new ones; {clock}; {passed}: whether the clock passed a row;
--        {touched}: the causes, or what they replace with them
-- Grain: one row for each entity
-- Out:   its keys
WITH cause AS MATERIALIZED (
    SELECT * FROM {changed} WHERE valid_at <= {clock}
    UNION ALL
    SELECT * FROM {rows} WHERE valid_at <= {clock} AND {passed}
)
SELECT DISTINCT {key_columns}
FROM {touched}
WHERE {present}
ORDER BY {key_columns}
