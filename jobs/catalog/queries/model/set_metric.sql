-- One figure of a version over a subject; the newest stays.
INSERT INTO catalog.model_metric (model, version, subject, metric, value, rows)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (model, version, subject, metric) DO UPDATE
SET value = excluded.value, rows = excluded.rows, measured_at = now()
