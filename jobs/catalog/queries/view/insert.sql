-- Adds a version.
INSERT INTO catalog.view_version (view, version, state, plan, hash, code_hash)
VALUES ($1, $2, $3, CAST($4 AS json), $5, $6)
