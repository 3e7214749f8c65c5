-- The next version, for a transaction that holds the head.
UPDATE lake.lake_head
SET head = head + 1
RETURNING head
