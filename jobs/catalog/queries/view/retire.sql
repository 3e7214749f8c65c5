-- Retires versions of a view in one of the given states, but for the one that is kept ($3; null: none).
UPDATE catalog.view_version
SET state = 'retired', retired_at = now()
WHERE view = $1 AND state = ANY ($2) AND version IS DISTINCT FROM $3
