-- Objects that edges name: the one asked for, and its versions (`view/x` finds `view/x@1`).
SELECT object
FROM (
    SELECT from_object AS object FROM catalog.lineage_edge
    UNION
    SELECT to_object FROM catalog.lineage_edge
) AS named
WHERE object = $1 OR split_part(object, '@', 1) = $1
ORDER BY object
