-- The point-in-time join of one view with rows.
-- In:    label (_row, _at, the keys: one row for each label row, keys in the view's types, `_at` never null);
--        {rows}: the view's rows, keys and order never null
-- Grain: one row for each label row, in order
-- Out:   {outputs}, which see `label`, `candidate` and whether it counts as `found`
-- Ties:  the greatest (valid_at, created_at, seq) not after the label's moment
SELECT {outputs}
FROM label
-- Rows of entities that nobody asks for need not be sorted.
ASOF LEFT JOIN (FROM {rows} AS stored SEMI JOIN label USING ({key_columns})) AS candidate
    ON {keys}
    AND struct_pack(a := label._at, b := 'infinity'::TIMESTAMPTZ, c := 9223372036854775807::BIGINT)
        >= struct_pack(a := candidate.valid_at, b := candidate.created_at, c := candidate.seq)
ORDER BY label._row
