//! Args of the jobs that one crate enqueues for another. Stored in the queue: fields are only ever added,
//! with a default.

use serde::{Deserialize, Serialize};
use tidemill_core::{IncidentId, Kind, Time, UploadId};

/// Kind of [`FeaturesUpdate`].
pub const FEATURES_UPDATE: Kind = Kind::new("features.update");
/// Kind of [`IngestChunk`].
pub const INGEST_CHUNK: Kind = Kind::new("ingest.chunk");
/// Kind of [`IngestPublish`].
pub const INGEST_PUBLISH: Kind = Kind::new("ingest.publish");
/// Kind of [`IngestReplay`].
pub const INGEST_REPLAY: Kind = Kind::new("ingest.replay");
/// Kind of [`MonitorScan`].
pub const MONITOR_SCAN: Kind = Kind::new("monitor.scan");
/// Kind of [`PredictionsIngest`].
pub const PREDICTIONS_INGEST: Kind = Kind::new("predictions.ingest");
/// Kind of [`Notify`].
pub const NOTIFY: Kind = Kind::new("notify");

/// Brings one view up to the lake's head and the data clock. Enqueued with the unique key [`Self::key`], so that
/// requests made while one waits are one, and with the view's [`features_concurrency_key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeaturesUpdate {
    /// The view.
    pub view: String,
}

impl FeaturesUpdate {
    /// The unique key of updates of this view.
    pub fn key(&self) -> String {
        format!("{FEATURES_UPDATE}/{}", self.view)
    }
}

/// The concurrency key of whatever works on a view: one job at a time.
pub fn features_concurrency_key(view: &str) -> String {
    format!("features/{view}")
}

/// Turns one chunk of an upload into staged Parquet and dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestChunk {
    /// The upload.
    pub upload: UploadId,
    /// Which chunk, from 0.
    pub chunk: u32,
}

/// Makes all chunks of an upload visible in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestPublish {
    /// The upload.
    pub upload: UploadId,
}

/// Gives the dead letters of a source another try. Enqueued with the key and concurrency key
/// `ingest.replay/SOURCE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestReplay {
    /// The source.
    pub source: String,
}

/// Scans one window of one monitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitorScan {
    /// The monitor.
    pub monitor: String,
    /// First instant of the window.
    pub from: Time,
    /// First instant after it.
    pub to: Time,
}

/// Takes what serving has logged of a model into the lake. Enqueued with the key and concurrency key
/// `predictions.ingest/MODEL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionsIngest {
    /// The model.
    pub model: String,
}

impl PredictionsIngest {
    /// The unique key of the jobs of this model.
    pub fn key(&self) -> String {
        format!("{PREDICTIONS_INGEST}/{}", self.model)
    }
}

/// Delivers one incident to one notifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// The incident.
    pub incident: IncidentId,
    /// The notifier.
    pub notifier: String,
}
