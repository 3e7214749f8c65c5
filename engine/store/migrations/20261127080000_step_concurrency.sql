-- What ended last under a concurrency key, and whether something waits or runs under it.
CREATE INDEX step_concurrency ON step (concurrency_key, finished_at) WHERE concurrency_key IS NOT NULL;
