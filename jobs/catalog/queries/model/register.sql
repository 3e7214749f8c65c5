-- The next version of a model, or the one that the same job registered before.
WITH present AS (
    SELECT version FROM catalog.model_version WHERE job_key = $2
),
added AS (
    INSERT INTO catalog.model_version (model, version, job_key, artifact, dataset, body)
    SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, CAST($5 AS json)
    FROM catalog.model_version
    WHERE model = $1
    HAVING NOT EXISTS (SELECT FROM present)
    RETURNING version
)
SELECT version FROM present
UNION ALL
SELECT version FROM added
