-- The features of the rows that were found.
-- In:    label (_at, then the columns of the row that was found, null where none was)
-- Grain: one row for each label row, in order
-- Out:   {outputs}, which see `label` and whether it counts as `found`
-- Ties:  none
SELECT {outputs}
FROM label
