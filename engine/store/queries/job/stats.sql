-- Live jobs by kind: how many wait, how many run, how long the oldest has waited.
SELECT kind,
       count(*) FILTER (WHERE lease_token IS NULL AND run_at <= now()) AS available,
       count(*) FILTER (WHERE lease_token IS NULL AND run_at > now()) AS scheduled,
       count(*) FILTER (WHERE lease_token IS NOT NULL) AS running,
       coalesce(extract(epoch FROM max(now() - run_at) FILTER (WHERE lease_token IS NULL AND run_at <= now())), 0)::float8
           AS oldest_wait_seconds
FROM job
GROUP BY kind
ORDER BY kind
