//! Servers, template databases and fault helpers for tests.
