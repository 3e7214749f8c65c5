-- The newest version of every object that was ever declared, retired ones too: kind, name, version, hash, retired.
SELECT object.kind, object.name, object.version, object_version.hash, object.retired_at IS NOT NULL
FROM catalog.object
JOIN catalog.object_version USING (kind, name, version)
