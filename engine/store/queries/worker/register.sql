-- Says that a worker is there. $1 id, $2 name, $3 process, $4 slots, $5 kinds.
INSERT INTO worker (id, name, pid, slots, kinds) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET seen_at = now()
