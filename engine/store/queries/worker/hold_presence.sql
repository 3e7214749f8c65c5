-- Takes the lock that says the worker $1 lives, unless this connection has it: a connection may have been replaced.
SELECT pg_try_advisory_lock(7435, presence_key($1))
WHERE NOT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 7435 AND objsubid = 2 AND pid = pg_backend_pid()
      AND objid::bigint = presence_key($1)::bigint & 4294967295)
