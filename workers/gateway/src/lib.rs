//! The upload endpoint.
