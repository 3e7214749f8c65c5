//! The engine's state in Postgres: jobs, runs, checkpoints, schedules, workers.
