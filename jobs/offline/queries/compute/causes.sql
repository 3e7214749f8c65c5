-- The rows that count otherwise, or no longer, since a change.
-- In:    {changed}: the new rows that the clock has reached; {passed}: rows that it passed; {replaced}: what a `cause`
--        takes the place of; {present}: the entity is wanted
-- Grain: one row for each of them at least
-- Out:   the source's columns
(
    WITH cause AS MATERIALIZED (
        SELECT * FROM {changed}
        UNION ALL
        SELECT * FROM {passed}
    )
    SELECT *
    FROM (SELECT * FROM cause UNION ALL SELECT * FROM {replaced})
    WHERE {present}
)
