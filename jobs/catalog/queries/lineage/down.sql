-- Edges to what was made from the objects $1, near ones first. UNION ends at cycles.
WITH RECURSIVE reached AS (
    SELECT unnest($1::text[]) AS object, 0 AS distance
    UNION
    SELECT edge.to_object, reached.distance + 1
    FROM reached
    JOIN catalog.lineage_edge AS edge ON edge.from_object = reached.object
    WHERE reached.distance < 32
),
nearest AS (
    SELECT object, min(distance) AS distance FROM reached GROUP BY object
)
SELECT edge.from_object, edge.to_object, edge.run, edge.code_hash, edge.lake_version, edge.updated_at
FROM nearest
JOIN catalog.lineage_edge AS edge ON edge.from_object = nearest.object
ORDER BY nearest.distance, edge.from_object, edge.to_object
