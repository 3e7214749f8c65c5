-- A crash is charged to a job only when the job may have caused it: not when Postgres went down with the worker
-- (the machine lost power, somebody killed everything), nor when the worker had been told to end.

CREATE FUNCTION blameless(worker_id uuid, started_at timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT $2 < pg_postmaster_start_time() OR EXISTS (SELECT FROM worker WHERE id = $1 AND draining)
$$;
