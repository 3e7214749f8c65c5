-- Makes a version that was being built the current one; the caller retired the one before. Safe to repeat.
UPDATE catalog.view_version
SET state = 'current'
WHERE view = $1 AND version = $2 AND state IN ('building', 'current')
