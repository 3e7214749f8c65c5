-- Ends the rollout of an alias that goes on, if one does.
UPDATE catalog.rollout
SET state = $3, reason = $4, ended_at = now()
WHERE model = $1 AND alias = $2 AND state = 'running'
RETURNING id, candidate
