-- Takes an alias away, and keeps that it went then ($4, the data clock); where $3 says so, only one that was never pointed
-- at another version.
WITH removed AS (
    DELETE FROM catalog.model_alias
    WHERE model = $1 AND alias = $2 AND (NOT $3 OR (promotions = 1 AND previous IS NULL))
    RETURNING model, alias, version
), moved AS (
    INSERT INTO catalog.model_alias_move (model, alias, at)
    SELECT model, alias, $4 FROM removed
)
SELECT version FROM removed
