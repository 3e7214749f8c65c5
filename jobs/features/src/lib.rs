//! The view DAG: compute, update, backfill, parity.
