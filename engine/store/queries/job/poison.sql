-- Jobs under which a worker died once too often: their leases have expired and their crashes are at the limit.
SELECT id, lease_token, crashes + 1 AS crashes
FROM job
WHERE lease_token IS NOT NULL AND lease_until < now() AND crashes + 1 >= max_crashes
ORDER BY lease_until
LIMIT $1
FOR UPDATE SKIP LOCKED
