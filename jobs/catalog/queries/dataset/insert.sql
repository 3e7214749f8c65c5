-- Registers a dataset; a repeat of the same job changes nothing and returns the first one's id.
INSERT INTO catalog.dataset AS present (id, job_key, label, model, lake_version, body)
VALUES ($1, $2, $3, $4, $5, CAST($6 AS json))
ON CONFLICT (job_key) DO UPDATE SET job_key = present.job_key
RETURNING id
