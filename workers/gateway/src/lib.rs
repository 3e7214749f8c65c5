//! The doors for rows: streamed gRPC uploads that survive being cut off, and streams that are read.
//!
//! Reading order: [`Server`] (binds, serves, drains), then `upload` (one call: announce, stage, accept), then [`streams`]. It only
//! converts and streams; what a file is and what becomes of it is decided by `tidemill-ingest`. A reply means that the
//! file and the run that ingests it are durable.

mod server;
mod status;
pub mod streams;
mod upload;

pub use server::{Options, Server};
