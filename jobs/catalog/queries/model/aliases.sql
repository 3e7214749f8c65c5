-- Aliases of one model ($1), or of all where it is null.
SELECT model, alias, version, previous, changed_at
FROM catalog.model_alias
WHERE $1::text IS NULL OR model = $1
ORDER BY model, alias
