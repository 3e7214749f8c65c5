-- Puts the code of this hash in force.
WITH written AS (
    INSERT INTO catalog.code_archive (hash)
    VALUES ($1)
    ON CONFLICT (hash) DO NOTHING
)
INSERT INTO catalog.code_current (hash)
VALUES ($1)
ON CONFLICT (single) DO UPDATE SET hash = excluded.hash
