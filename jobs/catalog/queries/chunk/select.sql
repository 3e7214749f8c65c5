-- Chunks of an upload in the file's order.
SELECT number, starts_at, ends_at, rows_before, lines_before, digest
FROM catalog.chunk
WHERE upload = $1
ORDER BY number
