-- Dead letters of a source that are left.
-- Input: {files}: the table's files; {limit}. Grain: one row a letter. What was told last of a row of an upload wins
-- (`created_at`, within one `seq`); a deleted letter became a row.
-- Output: upload, row from 0, line, column, reason, raw; newest upload first, then in the file's order.
SELECT "upload", "row", "line", "column", "reason", "raw"
FROM read_parquet([{files}])
QUALIFY row_number() OVER (PARTITION BY seq ORDER BY created_at DESC, deleted ASC) = 1 AND NOT deleted
ORDER BY seq >> 40 DESC, seq
LIMIT {limit}
