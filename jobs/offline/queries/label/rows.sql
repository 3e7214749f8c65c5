-- Label rows that have matured.
-- In:    {rows}: source rows; {clock}: the data clock; {newest}: keeps the newest row of each unique key
-- Grain: one row for each source row that counts
-- Out:   {keys}, label_ts, event_time, matured_at, the answer as {answer}; nulls, also of what fails, are the caller's to leave out
-- Ties:  the newest of those that have matured, by (valid_at, created_at, seq) or as the source's `newest` has it
WITH counting AS (
    SELECT *
    FROM {rows}
    WHERE valid_at <= {clock}
    {newest}
)
SELECT
    {keys},
    TRY(CAST({asked_at} AS TIMESTAMPTZ)) AS label_ts,
    {event_time} AS event_time,
    valid_at AS matured_at,
    TRY(CAST({sql} AS {type})) AS {answer},
    seq AS _seq
FROM counting
WHERE NOT deleted
  AND {event_time} >= {from}
  AND {event_time} < {to}
