//! Declared objects, lineage, uploads, the model registry and monitors in Postgres, schema `catalog`.
//!
//! Reading order: [`Catalog`], [`apply`](Catalog::apply) (a project comes in), [`views`](ViewVersion) (versions of
//! computed rows), [`code`] (the project's Python, pinned by hash), [`lineage`](Edge), [`uploads`](Upload).
//! Everything is written through the caller's [`Tx`](tidemill_store::Tx), so that it commits with the work it
//! tells of. No rows of data here: those are in the lake.

mod apply;
pub mod code;
mod connection;
mod datasets;
mod error;
mod lineage;
mod models;
mod monitors;
mod objects;
mod positions;
mod replies;
mod rollouts;
mod sources;
mod streams;
mod uploads;
mod views;

pub use apply::{Change, ChangeKind};
pub use code::CodeArchive;
pub use connection::Catalog;
pub use datasets::{Dataset, DatasetPart, DatasetPartRef, DatasetRow, LabelCoverage};
pub use error::Error;
pub use lineage::{Edge, EdgeRow, Node};
pub use models::{AliasMove, ModelAlias, ModelMetric, ModelVersion, ModelVersionRow};
pub use monitors::{Incident, IncidentSubject, Notified, ScanRow};
pub use objects::ObjectVersion;
pub use positions::Position;
pub use replies::Claim;
pub use rollouts::{Rollout, RolloutPlan, RolloutState};
pub use sources::SourceSummary;
pub use streams::{
    GapReason, HeldPartition, OffsetRange, PartitionDone, PendingBatch, Reader, StreamGap, StreamPartition,
    StreamReader, StreamRef,
};
pub use uploads::{Chunk, ChunkPlan, Format, NewUpload, Publication, Unpublished, Upload};
pub use views::{ViewState, ViewVersion};
