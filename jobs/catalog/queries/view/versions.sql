-- Versions of one view, newest first; of all views where $1 is null.
SELECT view, version, state, plan, hash, code_hash, created_at, retired_at
FROM catalog.view_version
WHERE $1::text IS NULL OR view = $1
ORDER BY view, version DESC
