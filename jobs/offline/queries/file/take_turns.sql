-- Waits for whoever else changes files that are published already: compaction, collection, the end of a table. The first
-- statement of a transaction that does; what follows sees all that they did.
SELECT pg_advisory_xact_lock(hashtextextended('lake.lake_file', 0))
