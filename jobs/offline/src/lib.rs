//! The lake: immutable Parquet on the object store, a manifest in Postgres, DuckDB to compute.
//!
//! Reading order: [`table`] (names, versions, commits, files), [`Lake`] (stage → publish → read, all pinned to a
//! version), [`view`] (a view version and what it is computed from), [`pit`] (the point-in-time join and its
//! contract), [`window`] (windowed aggregates and tiles), [`compute`] (row views, and the moments of Python over views), [`label`],
//! [`compact`], and [`check`], which has DuckDB judge a project's SQL before it is in force. The only home of DuckDB; every generated statement is assembled in `sql`.
//!
//! Rows are only ever appended: a staged file is invisible until its commit is, in the job's own transaction,
//! and the same version gives the same answer after any compaction. Knows nothing of Redis, Python or jobs.

pub mod check;
pub mod compact;
pub mod compute;
mod duck;
mod erase;
mod error;
mod foreign;
pub mod label;
mod lake;
pub mod leak;
mod manifest;
mod opened;
mod otherwise;
mod parsed;
mod part;
pub mod pit;
pub mod read;
mod scan;
mod shapes;
mod span;
mod sql;
pub mod table;
mod threads;
mod touched;
pub mod upload;
pub mod view;
pub mod window;

pub use check::load_project;
pub use compute::{Computed, Moments, Refused, Stamp};
pub use erase::{Holding, Sought};
pub use error::Error;
pub use label::{Answers, LabelFile, LabelRequest, Labels, Population};
pub use lake::{Lake, LakeOptions};
pub use leak::SeenEarly;
pub use otherwise::{StoredColumn, StoredOtherwise};
pub use part::Partings;
pub use pit::{KnownAt, PitRead, PitRequest};
pub use read::{Filter, Order, Queried, Read};
pub use table::{Commit, CommitKind, LakeFile, Staged, Table, Version};
pub use view::{CommitRange, Input, View};
pub use window::TileRange;
