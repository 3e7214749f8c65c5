-- In files of sources: the column that gave the rows their valid_at, and so the range of it. A source may name another one
-- later; the range says nothing then.
ALTER TABLE lake_file ADD COLUMN timed_by text;
-- A table that nothing needs any more is dropped by a commit that ends its files.
ALTER TABLE lake_commit DROP CONSTRAINT lake_commit_kind_check;
ALTER TABLE lake_commit ADD CHECK (kind IN ('append', 'compact', 'drop'));
