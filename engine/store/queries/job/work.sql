-- What the claimed steps need to start, for the (run, step) pairs $1, $2.
SELECT s.run_id, s.name AS step, s.args, s.condition, s.policy, r.context, r.single, c.value AS checkpoint,
       r.pipeline, r.version, r.logical_time,
       (SELECT coalesce(jsonb_object_agg(p.name, p.outputs), '{}')
        FROM step AS p WHERE p.run_id = s.run_id AND p.state = 'completed' AND NOT r.single) AS outputs
FROM unnest($1::uuid[], $2::text[]) AS wanted (run_id, step)
JOIN step AS s ON s.run_id = wanted.run_id AND s.name = wanted.step
JOIN run AS r ON r.id = s.run_id
LEFT JOIN checkpoint AS c ON c.run_id = s.run_id AND c.step = s.name
