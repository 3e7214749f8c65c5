-- Rows of an upload may be taken away, with those of its source. The same file may then come again.
ALTER TABLE upload ADD COLUMN removed_at timestamptz;
COMMENT ON COLUMN upload.removed_at IS 'When its rows were taken away, real time; its file goes with the garbage.';
DROP INDEX upload_one_file;
CREATE UNIQUE INDEX upload_one_file ON upload (source, sha256)
    WHERE repeat_of IS NULL AND push_key IS NULL AND removed_at IS NULL;
-- A training set stays as it was trained on; that rows of it were to go is noted.
ALTER TABLE dataset ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN dataset.erased_at IS 'When an entity was erased that it holds rows of, real time.';
