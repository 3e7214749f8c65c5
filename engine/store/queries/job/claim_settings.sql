-- For the transaction of a claim. Losing a claim in a crash is harmless, so its commit doesn't wait for the disk.
-- A queue's statistics are wrong by nature, it was empty a moment ago: believing them, the planner sorts the whole
-- backlog (48 ms at 20,000 jobs) where walking `job_waiting` in order takes the first few (under 1 ms).
SELECT set_config('synchronous_commit', 'off', true),
       set_config('enable_sort', 'off', true),
       set_config('enable_bitmapscan', 'off', true),
       set_config('enable_seqscan', 'off', true)
