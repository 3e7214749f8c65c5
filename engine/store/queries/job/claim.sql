-- Leases up to $2 waiting jobs of the kinds $1 to the worker $3 for $4 seconds. Returns them, and in every row how many
-- it looked at; one row of nulls with that number when it leased none.
-- `= ANY(ARRAY(…))` keeps the update on the primary key; the join form scans the table.
-- A full concurrency key is passed over; of several jobs with one key, the first is taken. So is, of jobs that have
-- their last chance, the first, by a worker that runs none.
WITH candidate AS MATERIALIZED (
    SELECT id, concurrency_key, priority, run_at, last_chance
    FROM job
    WHERE lease_token IS NULL
      AND run_at <= now()
      AND kind = ANY($1)
      AND (concurrency_key IS NULL OR NOT EXISTS (
          SELECT FROM job AS held
          WHERE held.concurrency_key = job.concurrency_key AND held.lease_token IS NOT NULL))
      AND (NOT last_chance OR NOT EXISTS (
          SELECT FROM job AS held
          WHERE held.worker_id = $3 AND held.last_chance AND held.lease_token IS NOT NULL))
    ORDER BY priority, run_at, id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), of_each_key AS (
    SELECT DISTINCT ON (coalesce(concurrency_key, id::text)) *
    FROM candidate
    ORDER BY coalesce(concurrency_key, id::text), priority, run_at, id
), chosen AS MATERIALIZED (
    SELECT id, concurrency_key FROM of_each_key WHERE NOT last_chance
    UNION ALL
    (SELECT id, concurrency_key FROM of_each_key WHERE last_chance ORDER BY priority, run_at, id LIMIT 1)
), free AS (
    -- A key that another claim is about to take is passed over too: claims wait for nothing, so they can't wait for
    -- each other.
    SELECT id FROM chosen
    WHERE concurrency_key IS NULL OR pg_try_advisory_xact_lock(7436, hashtext(concurrency_key))
), leased AS (
    UPDATE job
    SET lease_token = next_lease_token(),
        lease_until = now() + make_interval(secs => $4),
        worker_id = $3,
        started_at = now(),
        first_started_at = coalesce(first_started_at, now()),
        attempt = attempt + 1
    WHERE id = ANY(ARRAY(SELECT id FROM free))
    RETURNING id, run_id, step, kind, lease_token, attempt, charged, crashes, first_started_at, cancel_reason
)
SELECT looked_at, leased.*
FROM (SELECT count(*) AS looked_at FROM candidate) AS look
LEFT JOIN leased ON true
