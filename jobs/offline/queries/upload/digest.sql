-- Digests one chunk of a file: types and judges every row of a source.
-- Input: {input}: `_row` (data row from 0), `_line` (line in a text file, else null), every column of the source as text.
-- Grain: one output row an input row, in the file's order.
-- Output: the source's columns typed, `_row`, `_line`, `_event`, `_available`, `_deleted`,
--   `_naive` (a timestamp without a zone was read as UTC), `_column` (the first that is bad; null: none is),
--   `_reason` (of all that are bad) and `_raw` (a bad row as JSON).
-- Each step is materialised: inlined, the expressions of a step would be written out at each use in the next one, and a
-- file of some dozen columns would take minutes to plan.
WITH _input AS MATERIALIZED (
    {input}
),
-- Each column as it was written, and as the text that is read.
_read AS MATERIALIZED (
    SELECT _row, _line, {texts}
    FROM _input
),
typed AS MATERIALIZED (
    SELECT *, {typed}
    FROM _read
),
-- What is wrong with each column, if anything.
judged AS MATERIALIZED (
    SELECT *, {faults}
    FROM typed
)
SELECT
    {columns},
    _row,
    _line,
    {event} AS _event,
    {available} AS _available,
    {deleted} AS _deleted,
    {naive} AS _naive,
    {first} AS _column,
    nullif(concat_ws('; ', {reasons}), '') AS _reason,
    CASE WHEN _column IS NOT NULL THEN CAST(json_object({raw}) AS VARCHAR) END AS _raw
FROM judged
ORDER BY _row
