-- Whether the database was started again since the attempt under the lease ($1 job, $2 token) began; no row: the lease
-- was lost.
SELECT started_at < pg_postmaster_start_time() FROM job WHERE id = $1 AND lease_token = $2
