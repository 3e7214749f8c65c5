-- Writes the final states of steps ($1 runs, $2 names): $3 state, $4 outputs, $5 fault, $6 reason.
UPDATE step
SET state = ended.state, outputs = ended.outputs, fault = ended.fault, reason = ended.reason, finished_at = now()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[], $5::jsonb[], $6::text[])
    AS ended (run_id, name, state, outputs, fault, reason)
WHERE step.run_id = ended.run_id AND step.name = ended.name
