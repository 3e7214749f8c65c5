-- Positions of one view, newest version first; of all views where $1 is null.
SELECT view, version, lake_version, reached, data_clock, moved_at
FROM catalog.position
WHERE $1::text IS NULL OR view = $1
ORDER BY view, version DESC
