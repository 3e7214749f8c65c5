-- Dead letters of a source that are left.
-- Input: {files}: the table's files; {limit}. Grain: one row a letter. What was told last of a row of an upload or topic
-- wins (`created_at`, within one `seq`); a deleted letter became a row.
-- Output: upload or topic, row from 0, line, column, reason, raw, the data clock at acceptance in microseconds; those that
-- were accepted last first, then in the order of rows.
SELECT "upload", "row", "line", "column", "reason", "raw", epoch_us(valid_at)
FROM read_parquet([{files}])
QUALIFY row_number() OVER (PARTITION BY "upload", seq ORDER BY created_at DESC, deleted ASC) = 1 AND NOT deleted
ORDER BY valid_at DESC, "upload" DESC, seq
LIMIT {limit}
