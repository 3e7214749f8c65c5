-- Points an alias back at the version before its last promotion, once, and keeps that it moved then ($3, the data clock).
WITH moved AS (
    UPDATE catalog.model_alias
    SET version = previous, previous = NULL, changed_at = now()
    WHERE model = $1 AND alias = $2 AND previous IS NOT NULL
    RETURNING model, alias, version
)
INSERT INTO catalog.model_alias_move (model, alias, version, at)
SELECT model, alias, version, $3 FROM moved
RETURNING version
