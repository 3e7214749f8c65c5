-- Objects in force, in the order of declaration: kind, name, version, definition, hash.
SELECT object.kind, object.name, object.version, object_version.definition, object_version.hash
FROM catalog.object
JOIN catalog.object_version USING (kind, name, version)
WHERE object.retired_at IS NULL
ORDER BY object.position
