-- The functions of this DuckDB, by name.
-- Grain: one row for each name
-- Out:   name; whether one of its forms takes a single row; whether all of these are the same each time; the text of a
--        macro, whose nature follows from it
SELECT
    lower(function_name) AS name,
    bool_or(function_type IN ('scalar', 'macro')) AS scalar,
    bool_and(function_type <> 'scalar' OR stability = 'CONSISTENT') AS consistent,
    CASE WHEN NOT bool_or(function_type = 'scalar') THEN any_value(macro_definition) END AS definition
FROM duckdb_functions()
WHERE function_type IN ('scalar', 'macro', 'aggregate')
GROUP BY ALL
ORDER BY ALL
