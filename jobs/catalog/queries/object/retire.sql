-- Takes one object out of force; its versions stay.
UPDATE catalog.object
SET retired_at = now()
WHERE kind = $1 AND name = $2 AND retired_at IS NULL
