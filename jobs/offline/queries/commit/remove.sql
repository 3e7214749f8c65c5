-- The commits of a table whose rows are all taken away by another one are nothing to consume any more, and their keys may
-- be used again: what is filled anew is published under the same.
-- $1 table, $2 key of the one that takes them away
UPDATE lake.lake_commit
SET kind = 'removed', job_key = job_key || ' before ' || $2
WHERE table_id = (SELECT id FROM lake.lake_table WHERE name = $1)
  AND kind = 'append'
