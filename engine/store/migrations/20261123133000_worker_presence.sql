-- A worker holds an advisory lock on the connection of its heartbeats. The lock goes with the process, however it
-- dies, so its jobs need not wait for their leases to expire.

-- The lock's second key; the first is 7435.
CREATE FUNCTION presence_key(worker uuid) RETURNS integer LANGUAGE sql IMMUTABLE AS
    $$SELECT hashtext(worker::text)$$;

-- Workers that are gone: silent for so many seconds, and their lock is free. Only those that have beaten since the
-- server started: after a restart all locks are free, and the living need a moment to come back.
CREATE FUNCTION dead_workers(silent_seconds double precision) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    SELECT id
    FROM worker
    WHERE seen_at < now() - make_interval(secs => silent_seconds)
      AND seen_at > pg_postmaster_start_time()
      AND NOT EXISTS (
          SELECT FROM pg_locks
          WHERE locktype = 'advisory' AND classid = 7435 AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND objid::bigint = presence_key(worker.id)::bigint & 4294967295)
$$;
