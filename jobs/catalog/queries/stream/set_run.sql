-- A batch ($1) is brought by a run ($2).
UPDATE catalog.stream_partition SET run = $2 WHERE batch = $1
