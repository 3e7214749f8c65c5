-- Notes of some training sets ($1) that an entity was erased that they hold rows of. The first time stays.
UPDATE catalog.dataset
SET erased_at = coalesce(erased_at, clock_timestamp())
WHERE id = ANY($1)
