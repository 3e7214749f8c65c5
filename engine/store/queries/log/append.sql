-- Appends lines ($4 numbers, $5 times, $6 texts) to the log of the attempt ($1 run, $2 step, $3 number), up to $7
-- bytes in all; the first line past them says that it and what follows was dropped. A repeat changes nothing.
WITH kept AS (
    -- One that is full counts as over the limit, so that nothing follows the line that says so.
    SELECT CASE WHEN bool_or(line LIKE '… the log is full%') THEN $7 + 1
                ELSE coalesce(sum(octet_length(line)), 0) END AS bytes
    FROM attempt_log WHERE run_id = $1 AND step = $2 AND attempt = $3
), fresh AS (
    SELECT line_no, at, line, kept.bytes + sum(octet_length(line)) OVER (ORDER BY line_no) AS upto
    FROM kept, unnest($4::integer[], $5::timestamptz[], $6::text[]) AS fresh (line_no, at, line)
), bounded AS (
    SELECT line_no, at, line FROM fresh WHERE upto <= $7
    UNION ALL
    SELECT * FROM (
        SELECT line_no, at, '… the log is full: what follows was dropped' FROM fresh
        WHERE upto > $7 AND upto - octet_length(line) <= $7
        ORDER BY line_no LIMIT 1
    ) AS full_at
)
INSERT INTO attempt_log (run_id, step, attempt, line_no, at, line)
SELECT $1, $2, $3, line_no, at, line FROM bounded
ON CONFLICT DO NOTHING
