-- Source rows on which SQL of a windowed feature fails.
-- In:    {rows}: source rows; {tried}: for each feature its name where it fails on a row, else null
-- Grain: one row for each source row with all its keys that is not a deletion, and that a feature fails on
-- Out:   the source's columns, then _names: the features that fail
CREATE TEMP TABLE uncounted AS
SELECT *
FROM (SELECT *, concat_ws(', ', {tried}) AS _names FROM {rows} WHERE NOT deleted AND {present})
WHERE _names <> ''
ORDER BY valid_at, created_at, seq
