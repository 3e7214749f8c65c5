//! The door for files: streamed gRPC uploads that survive being cut off.
//!
//! Reading order: [`Server`] (binds, serves, drains), then `upload` (one call: announce, stage, accept). It only
//! converts and streams; what a file is and what becomes of it is decided by `tidemill-ingest`. A reply means that the
//! file and the run that ingests it are durable.

mod server;
mod status;
mod upload;

pub use server::{Options, Server};
