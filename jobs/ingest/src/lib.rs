//! Uploads and the ingest step to validated, idempotent batches.
