-- Adds a version.
INSERT INTO catalog.view_version (view, version, state, definition, hash, code_hash)
VALUES ($1, $2, $3, $4, $5, $6)
