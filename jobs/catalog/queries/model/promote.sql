-- Points an alias at a version; the version before stays known for a rollback.
INSERT INTO catalog.model_alias AS present (model, alias, version)
VALUES ($1, $2, $3)
ON CONFLICT (model, alias) DO UPDATE
SET previous = present.version, version = excluded.version, changed_at = now()
-- A repeat must not make the version its own predecessor.
WHERE present.version <> excluded.version
