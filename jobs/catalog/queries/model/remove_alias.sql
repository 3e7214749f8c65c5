-- Takes an alias away; where $3 says so, only one that was never pointed at another version.
DELETE FROM catalog.model_alias
WHERE model = $1 AND alias = $2 AND (NOT $3 OR (promotions = 1 AND previous IS NULL))
RETURNING version
