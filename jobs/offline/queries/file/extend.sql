-- What a compaction wrote stands for what it replaced, at older versions too: its rows name their commits.
-- $1 versions of compactions whose replaced files are forgotten
UPDATE lake.lake_file
SET begin_version = first_commit
WHERE begin_version = ANY($1)
  AND begin_version > last_commit
