-- Rows may be taken away. Whoever read a table before may not commit what follows from its rows after: it compares the count
-- with what it was when it began.
ALTER TABLE lake_table ADD COLUMN removals bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN lake_table.removals IS 'How often rows of it were taken away.';
-- A commit of which all rows were taken away is `removed`.
ALTER TABLE lake_commit DROP CONSTRAINT lake_commit_kind_check;
ALTER TABLE lake_commit ADD CHECK (kind IN ('append', 'compact', 'drop', 'truncate', 'removed'));
