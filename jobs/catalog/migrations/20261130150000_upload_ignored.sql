-- A file may have more than its source declares.
ALTER TABLE upload ADD COLUMN ignored json NOT NULL DEFAULT '{}';
COMMENT ON COLUMN upload.ignored IS 'Rows of it that had something of a name which is not declared, by name.';
