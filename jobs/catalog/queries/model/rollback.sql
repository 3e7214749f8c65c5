-- Points an alias back at the version before its last promotion, once.
UPDATE catalog.model_alias
SET version = previous, previous = NULL, changed_at = now()
WHERE model = $1 AND alias = $2 AND previous IS NOT NULL
RETURNING version
