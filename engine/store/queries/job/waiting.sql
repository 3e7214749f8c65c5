-- The waiting jobs with the keys $1, locked so that none is claimed before the caller's commit. One that is being
-- claimed right now is waited for, and gone then.
SELECT key, run_id FROM job WHERE key = ANY($1) ORDER BY key FOR KEY SHARE
