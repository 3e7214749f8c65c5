//! Declared objects, lineage, model registry and monitors in Postgres.
