-- Partitions of `attempt` for days that lie more than $1 days back, oldest first.
SELECT relname::text
FROM pg_inherits
JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'attempt'::regclass
  AND relname < format('attempt_%s', to_char((now() AT TIME ZONE 'UTC')::date - $1::integer, 'YYYYMMDD'))
ORDER BY relname
