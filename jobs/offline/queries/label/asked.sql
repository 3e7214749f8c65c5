-- Of whom a label over windows is asked: the rows of a source.
-- In:    {rows}: source rows; {clock}: the data clock; {superseded}: leaves out rows that another one of their unique key had
--        taken the place of by the moment at which they are asked; {rank}: among the rows of a key the one that counts last;
--        {known}: since when there is such a row
-- Grain: one row for each source row that counted at its own moment, whatever became of it later
-- Out:   {keys}, label_ts, _known_at, _seq. A row whose moment is null is not asked. One that became known after its moment
--        is told by its _known_at if it is the first of its key, and left out if it corrects one that is asked
-- Ties:  by the order of the unique key, as the source's `newest` has it
WITH known AS (
    SELECT *, {rank} AS _rank, {known} AS _known_at
    FROM {rows}
    WHERE valid_at <= {clock}
),
moment AS (
    SELECT *, TRY(CAST({asked_at} AS TIMESTAMPTZ)) AS _label_ts
    FROM known
)
SELECT
    {keys},
    _label_ts AS label_ts,
    _known_at,
    seq AS _seq
FROM moment AS one
{superseded}
WHERE NOT deleted
  AND _label_ts IS NOT NULL
  AND (valid_at <= _label_ts OR _label_ts < _known_at)
