-- The version of a publication is drawn at its COMMIT, after this row is written: the lake has it, by the upload's id.
ALTER TABLE upload DROP COLUMN lake_version;
