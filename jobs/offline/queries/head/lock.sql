-- Waits for whoever else publishes. The first statement of every transaction that writes to the manifest: what follows
-- sees all that was committed before, and takes its locks in no order that another could cross.
SELECT head
FROM lake.lake_head
FOR UPDATE
