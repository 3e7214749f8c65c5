-- How many uploads up to an ordinal ($1) are not in the lake while their ingest still runs. One of an `ingest` step names no
-- run: after a day it is taken for failed.
SELECT count(*)
FROM catalog.upload
LEFT JOIN engine.run ON run.id = upload.run
WHERE upload.ordinal <= $1
  AND upload.published_at IS NULL
  AND upload.removed_at IS NULL
  AND coalesce(run.state = 'running', upload.accepted_at > now() - interval '1 day')
