-- Rows of uploads (ordinals $1) were erased ($2).
UPDATE catalog.upload
SET rows = upload.rows - erased.rows
FROM unnest($1::bigint[], $2::bigint[]) AS erased (ordinal, rows)
WHERE upload.ordinal = erased.ordinal
