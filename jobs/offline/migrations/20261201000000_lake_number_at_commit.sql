-- A commit gets its version as the last thing before COMMIT. Until then a number below 0, which no reader asks for, stands
-- for it, so that publications wait for each other no longer than it takes to number one.

CREATE SEQUENCE lake_unnumbered;

CREATE FUNCTION lake_number_commit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
BEGIN
    -- Held from here to the end of the commit: versions become visible in their order.
    UPDATE lake.lake_head SET head = head + 1 RETURNING head INTO number;
    UPDATE lake.lake_commit
    SET version = number, committed_at = clock_timestamp()
    WHERE version = NEW.version;
    UPDATE lake.lake_file
    SET begin_version = number,
        first_commit = CASE WHEN first_commit = NEW.version THEN number ELSE first_commit END,
        last_commit = CASE WHEN last_commit = NEW.version THEN number ELSE last_commit END
    WHERE begin_version = NEW.version AND begin_version < 0;
    UPDATE lake.lake_file
    SET end_version = number
    WHERE end_version = NEW.version AND end_version < 0;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER lake_number_commit AFTER INSERT ON lake_commit
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION lake_number_commit();

-- Both are empty but for what a transaction is about to commit.
CREATE INDEX lake_file_unnumbered ON lake_file (begin_version) WHERE begin_version < 0;
CREATE INDEX lake_file_unnumbered_end ON lake_file (end_version) WHERE end_version < 0;

ALTER TABLE lake_file DROP CONSTRAINT lake_file_check;
ALTER TABLE lake_file ADD CHECK (end_version < 0 OR end_version > begin_version);
