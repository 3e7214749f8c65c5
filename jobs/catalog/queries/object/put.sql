-- Puts one version in force; the version itself is written once.
WITH written AS (
    INSERT INTO catalog.object_version (kind, name, version, definition, hash)
    VALUES ($1, $2, $3, CAST($4 AS json), $5)
    ON CONFLICT (kind, name, version) DO NOTHING
)
INSERT INTO catalog.object (kind, name, version, position)
VALUES ($1, $2, $3, $6)
ON CONFLICT (kind, name) DO UPDATE
SET version = excluded.version, position = excluded.position, retired_at = NULL
