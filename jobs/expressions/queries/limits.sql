-- Bounds what one value of a user's SQL can grow to: the memory of texts is not counted by DuckDB's own limit, and a
-- statement hears of an interrupt only between batches of rows. Each takes the place of the function of its name.
-- A cast that fails, not `error()`: `TRY` takes no function that is volatile.
CREATE OR REPLACE TEMP MACRO repeat(of, times) AS system.main.repeat(of,
    CASE WHEN len(of) * CAST(times AS BIGINT) > 65536 THEN CAST('`repeat` makes more than 65,536 characters' AS BIGINT)
    ELSE times END);
CREATE OR REPLACE TEMP MACRO lpad(of, width, filler) AS system.main.lpad(of,
    CASE WHEN width > 65536 THEN CAST('`lpad` makes more than 65,536 characters' AS INTEGER) ELSE width END, filler);
CREATE OR REPLACE TEMP MACRO rpad(of, width, filler) AS system.main.rpad(of,
    CASE WHEN width > 65536 THEN CAST('`rpad` makes more than 65,536 characters' AS INTEGER) ELSE width END, filler);
CREATE OR REPLACE TEMP MACRO replace(of, old, new) AS system.main.replace(of, old,
    CASE WHEN length(new) > length(old) AND length(of) * length(new) > 1048576
    THEN CAST(CAST('`replace` may make more than 1,048,576 characters' AS INTEGER) AS VARCHAR) ELSE new END);
CREATE OR REPLACE TEMP MACRO regexp_replace
    (of, old, new) AS system.main.regexp_replace(of, old,
        CASE WHEN length(of) * length(new) > 1048576
        THEN CAST(CAST('`regexp_replace` may make more than 1,048,576 characters' AS INTEGER) AS VARCHAR) ELSE new END),
    (of, old, new, options) AS system.main.regexp_replace(of, old,
        CASE WHEN length(of) * length(new) > 1048576
        THEN CAST(CAST('`regexp_replace` may make more than 1,048,576 characters' AS INTEGER) AS VARCHAR) ELSE new END,
        options);
-- Their time grows with the product of both lengths.
CREATE OR REPLACE TEMP MACRO levenshtein(a, b) AS system.main.levenshtein(a,
    CASE WHEN length(a) * length(b) > 100000000
    THEN CAST(CAST('`levenshtein` compares texts that are too long' AS INTEGER) AS VARCHAR) ELSE b END);
CREATE OR REPLACE TEMP MACRO editdist3(a, b) AS system.main.editdist3(a,
    CASE WHEN length(a) * length(b) > 100000000
    THEN CAST(CAST('`editdist3` compares texts that are too long' AS INTEGER) AS VARCHAR) ELSE b END);
CREATE OR REPLACE TEMP MACRO damerau_levenshtein(a, b) AS system.main.damerau_levenshtein(a,
    CASE WHEN length(a) * length(b) > 100000000
    THEN CAST(CAST('`damerau_levenshtein` compares texts that are too long' AS INTEGER) AS VARCHAR) ELSE b END);
