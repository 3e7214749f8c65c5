-- The features of rows that were chosen before.
-- In:    label (_row, _at, the keys, _seq: which row of the view; null: none); {rows}: the view's rows
-- Grain: one row for each label row, in order
-- Out:   {outputs}, which see `label`, `candidate` and whether it counts as `found`
-- Ties:  none: a view has one row of each source row
SELECT {outputs}
FROM label
LEFT JOIN {rows} AS candidate ON candidate.seq = label._seq
ORDER BY label._row
