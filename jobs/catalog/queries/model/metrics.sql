-- Figures of all versions of one model.
SELECT version, subject, metric, value, rows
FROM catalog.model_metric
WHERE model = $1
ORDER BY version, subject, metric
