-- What does not change a version's values (description, freshness, timeout) follows the declaration.
UPDATE catalog.view_version
SET plan = CAST($3 AS json), code_hash = $4, state = $5, retired_at = NULL
WHERE view = $1 AND version = $2
