-- Moves of an alias of a model, the first first, by the data clock.
SELECT version, at
FROM catalog.model_alias_move
WHERE model = $1 AND alias = $2
ORDER BY at, id
