-- Of whom a label over windows is asked: the rows of a source.
-- In:    {rows}: source rows; {clock}: the data clock; {newest}: keeps the newest row of each unique key
-- Grain: one row for each source row that counts
-- Out:   {keys}, label_ts, _known_at: since when there is such a row ({known}), _seq; nulls, also of what fails, are the
--        caller's to leave out
-- Ties:  the newest of those that are known by the clock, by (valid_at, created_at, seq) or as the source's `newest` has it
WITH counting AS (
    SELECT *, {known} AS _known_at
    FROM {rows}
    WHERE valid_at <= {clock}
    {newest}
)
SELECT
    {keys},
    TRY(CAST({asked_at} AS TIMESTAMPTZ)) AS label_ts,
    _known_at,
    seq AS _seq
FROM counting
WHERE NOT deleted
