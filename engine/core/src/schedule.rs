//! Five-field cron in a time zone. Filled by the engine.
