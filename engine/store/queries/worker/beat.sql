-- Says that the worker $1 is still there; returns whether it was asked to drain.
UPDATE worker SET seen_at = now() WHERE id = $1 RETURNING draining
