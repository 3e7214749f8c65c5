-- Days from today on, $1 of them, that have no partition of `attempt` yet. A day whose rows had to be kept in the default
-- partition stays there: they would be in the way.
SELECT day
FROM (SELECT (now() AT TIME ZONE 'UTC')::date + ahead AS day FROM generate_series(0, $1 - 1) AS ahead) AS coming
WHERE to_regclass(format('attempt_%s', to_char(day, 'YYYYMMDD'))) IS NULL
  AND NOT EXISTS (
      SELECT FROM attempt_default
      WHERE finished_at >= day::timestamp AT TIME ZONE 'UTC' AND finished_at < (day + 1)::timestamp AT TIME ZONE 'UTC')
ORDER BY day
