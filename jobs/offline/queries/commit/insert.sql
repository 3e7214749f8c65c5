-- $1 version, $2 table id, $3 job key, $4 kind, $5 rows
INSERT INTO lake.lake_commit (version, table_id, job_key, kind, rows)
VALUES ($1, $2, $3, $4, $5)
