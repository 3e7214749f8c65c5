-- Points an alias at a version, and keeps that it moved then ($4, the data clock); the version before stays known for a
-- rollback.
WITH moved AS (
    INSERT INTO catalog.model_alias AS present (model, alias, version)
    VALUES ($1, $2, $3)
    ON CONFLICT (model, alias) DO UPDATE
    SET previous = present.version, version = excluded.version, changed_at = now(),
        promotions = present.promotions + 1
    -- A repeat must not make the version its own predecessor.
    WHERE present.version <> excluded.version
    RETURNING model, alias, version
)
INSERT INTO catalog.model_alias_move (model, alias, version, at)
SELECT model, alias, version, $4 FROM moved
