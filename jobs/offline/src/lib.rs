//! The lake: immutable Parquet with a manifest in Postgres, computed by DuckDB.
