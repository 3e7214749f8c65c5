-- Adds lines ($4 numbers, $5 times, $6 texts) to the log of the attempt ($1 run, $2 step, $3 number), and takes out the
-- middle of a long one: what lies neither in its first $7 bytes nor in its last $8. A repeat changes nothing.
WITH fresh AS (
    SELECT * FROM unnest($4::integer[], $5::timestamptz[], $6::text[]) AS fresh (line_no, at, line)
), known AS (
    SELECT line_no, octet_length(line) AS bytes FROM attempt_log
    WHERE run_id = $1 AND step = $2 AND attempt = $3
    UNION
    SELECT line_no, octet_length(line) FROM fresh
), middle AS (
    SELECT line_no
    FROM (SELECT line_no,
                 sum(bytes) OVER (ORDER BY line_no) AS from_start,
                 sum(bytes) OVER (ORDER BY line_no DESC) AS from_end
          FROM known) AS sized
    WHERE from_start > $7 AND from_end > $8
), taken_out AS (
    DELETE FROM attempt_log
    WHERE run_id = $1 AND step = $2 AND attempt = $3 AND line_no IN (SELECT line_no FROM middle)
)
INSERT INTO attempt_log (run_id, step, attempt, line_no, at, line)
SELECT $1, $2, $3, line_no, at, line FROM fresh
WHERE line_no NOT IN (SELECT line_no FROM middle)
ON CONFLICT DO NOTHING
