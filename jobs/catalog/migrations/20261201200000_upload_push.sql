-- Rows that came in one call are an upload too, known by the key of the call instead of by their content: the same row
-- pushed twice happened twice.
ALTER TABLE upload ADD COLUMN push_key text;
COMMENT ON COLUMN upload.push_key IS 'Of rows that were pushed: what makes a repeat of the call the same upload.';
CREATE UNIQUE INDEX upload_one_push ON upload (source, push_key);
DROP INDEX upload_one_file;
CREATE UNIQUE INDEX upload_one_file ON upload (source, sha256) WHERE repeat_of IS NULL AND push_key IS NULL;
