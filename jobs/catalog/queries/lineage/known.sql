-- Every object that an edge names, without its version.
SELECT DISTINCT split_part(object, '@', 1) AS object
FROM (
    SELECT from_object AS object FROM catalog.lineage_edge
    UNION
    SELECT to_object FROM catalog.lineage_edge
) AS named
ORDER BY object
