-- Leases the job of a run ($1) that this transaction has enqueued to the worker $2 for $3 seconds.
UPDATE job
SET lease_token = next_lease_token(),
    lease_until = now() + make_interval(secs => $3),
    worker_id = $2,
    started_at = now(),
    first_started_at = now(),
    attempt = attempt + 1
WHERE run_id = $1 AND lease_token IS NULL
RETURNING id, run_id, step, kind, lease_token, attempt, charged, crashes, first_started_at, cancel_reason
