-- Takes the key $1 for the path $2 and the body $3; one row where the caller is to do the work. A claim older than a
-- minute without an answer is a server's that died, and is taken over.
INSERT INTO catalog.reply AS present (key, path, request)
VALUES ($1, $2, $3)
ON CONFLICT (key, path) DO UPDATE
SET claimed_at = now()
WHERE present.body IS NULL AND present.request = excluded.request
  AND present.claimed_at < now() - interval '1 minute'
RETURNING true
