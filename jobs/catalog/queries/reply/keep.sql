-- Keeps the answer $3 for the key $1 on the path $2; answers older than 30 days go.
WITH forgotten AS (
    DELETE FROM catalog.reply WHERE claimed_at < now() - interval '30 days'
)
UPDATE catalog.reply SET body = CAST($3 AS json) WHERE key = $1 AND path = $2
