-- Runs, newest first. $1 state, $2 pipeline (null: any), $3 single jobs too, $4 finished after, $5 at most, $6 this one only.
SELECT run.id, run.pipeline, run.version, run.single, run.trigger, run.key, run.logical_time, run.state,
       run.created_at, run.finished_at, run.context,
       (SELECT count(*) FROM step WHERE run_id = run.id) AS steps,
       (SELECT count(*) FROM step WHERE run_id = run.id AND state IN ('completed', 'skipped')) AS steps_done,
       (SELECT fault FROM step WHERE run_id = run.id AND state = 'failed' ORDER BY position LIMIT 1) AS fault
FROM run
WHERE ($1::text IS NULL OR state = $1)
  AND ($2::text IS NULL OR pipeline = $2)
  AND ($3 OR NOT single)
  AND ($4::timestamptz IS NULL OR finished_at >= $4)
  AND ($6::uuid IS NULL OR run.id = $6)
ORDER BY created_at DESC, id DESC
LIMIT $5
