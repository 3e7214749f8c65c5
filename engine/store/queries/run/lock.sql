-- Locks the runs of the jobs $1, in order.
SELECT FROM run
WHERE id = ANY(ARRAY(SELECT run_id FROM job WHERE id = ANY($1)))
ORDER BY id
FOR UPDATE
