-- The steps of the run $1, in declared order, with the state of the job behind each ready one.
SELECT step.name, step.kind, step.args, step.condition, step.outputs, step.fault, step.reason, step.params,
       step.metrics, step.finished_at, job.started_at, job.run_at, job.worker_id, job.id AS job_id,
       CASE WHEN step.state <> 'ready' THEN step.state
            WHEN job.lease_token IS NOT NULL THEN 'running'
            WHEN job.charged > 0 THEN 'retryable'
            WHEN job.run_at > now() THEN 'scheduled'
            ELSE 'available' END AS state,
       (SELECT coalesce(array_agg(parent ORDER BY parent), '{}')
        FROM step_edge WHERE run_id = step.run_id AND child = step.name) AS needs,
       (SELECT value FROM checkpoint WHERE run_id = step.run_id AND checkpoint.step = step.name) AS checkpoint
FROM step
LEFT JOIN job ON job.run_id = step.run_id AND job.step = step.name
WHERE step.run_id = $1
ORDER BY step.position
