-- The next version. Holds the head until the transaction ends.
UPDATE lake.lake_head
SET head = head + 1
RETURNING head
