-- The jobs with the keys $1 that wait, or wait again, locked so that none is claimed before the caller's commit; the
-- first of each key counts. One that is being claimed right now is waited for, and gone then.
SELECT key, run_id
FROM job
WHERE key = ANY($1) AND lease_token IS NULL AND cancel_reason IS NULL
ORDER BY key, run_at, id
FOR KEY SHARE
