-- Forgets up to 10,000 single jobs that ended more than $1 seconds ago, with what their attempts wrote.
WITH old AS (
    SELECT id FROM run
    WHERE single AND finished_at < now() - make_interval(secs => $1)
    LIMIT 10000
    FOR UPDATE SKIP LOCKED
), logs AS (
    DELETE FROM attempt_log WHERE run_id IN (SELECT id FROM old)
), checkpoints AS (
    DELETE FROM checkpoint WHERE run_id IN (SELECT id FROM old)
)
DELETE FROM run WHERE id IN (SELECT id FROM old)
