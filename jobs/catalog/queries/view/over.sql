-- Views of which a version that may be read is computed from the rows of a source.
SELECT DISTINCT view
FROM catalog.view_version
WHERE state IN ('current', 'retired')
  AND plan -> 'source' ->> 'name' = $1
ORDER BY view
