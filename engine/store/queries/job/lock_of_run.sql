-- Locks the jobs of the run $1, in order. Claims that are under way are waited for, and none comes before the caller's
-- commit: what waits then goes on waiting, what runs goes on running.
SELECT FROM job WHERE run_id = $1 ORDER BY id FOR NO KEY UPDATE
