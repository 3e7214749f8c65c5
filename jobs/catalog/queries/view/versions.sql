-- Versions of all views, by name and newest first.
SELECT view, version, state, plan, hash, code_hash, created_at, retired_at
FROM catalog.view_version
ORDER BY view, version DESC
