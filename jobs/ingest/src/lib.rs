//! Files in: uploads and the `ingest` step, to validated rows of the lake.
//!
//! Reading order: [`Staging`] (bytes arrive), [`Ingest::accept`] (a file becomes an upload, its chunks and a run, in
//! one transaction; [`Ingest::push`]: rows of one call do), [`jobs`] (`ingest.chunk` types and judges, `ingest.publish` makes all of it visible at once,
//! `ingest.replay` gives dead letters another try, `ingest` does all of it as a pipeline's step).
//!
//! Invariants: the same file for the same source is one ingest; no row is dropped, a bad one is a dead letter with its
//! place and reason; how a file is cut into chunks changes nothing of what comes out.

mod accept;
mod columns;
mod error;
mod extra;
mod intake;
pub mod jobs;
mod letters;
mod limits;
mod looks;
mod plain;
mod plan;
mod push;
mod records;
mod split;
mod staging;

pub use accept::{Accepted, FileClaim, Start};
pub use error::Error;
pub use intake::{ChunkDigest, Ingest};
pub use letters::{DeadLetter, Origin, Place};
pub use limits::Limits;
pub use plain::kept_at;
pub use push::{Push, Pushed};
pub use records::{BatchStamp, Record, StagedRecords};
pub use staging::Staging;
pub use tidemill_catalog::Format;
