//! How records of a Kafka topic become rows of a source.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::Time;

/// A topic whose records are rows of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// The topic.
    pub topic: String,
    /// The column that a record's key is: filled from it where the value has none, and all there is of a tombstone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How values are written.
    #[serde(default)]
    pub format: StreamFormat,
    /// Where reading begins, of a partition that was never read.
    #[serde(default)]
    pub start: Start,
    /// When records that have come are made rows.
    #[serde(default)]
    pub batch: Batch,
}

/// How the value of a record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamFormat {
    /// One JSON object.
    #[default]
    Json,
    /// One row as the source's CSV files have it, without a header: the columns in declared order.
    Csv,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest record that is kept.
    #[default]
    Earliest,
    /// With the first record that comes after the partition was seen for the first time.
    Latest,
    /// With the first record whose own time is not before this one.
    At(Time),
}

/// When a batch is cut: once it has so many rows, or its first record has waited so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Records at most.
    pub rows: u32,
    /// Real time that a record waits at most for others.
    pub every: Duration,
}

impl Batch {
    /// More would not fit a job.
    pub const ROWS_MAX: u32 = 100_000;
}

impl Default for Batch {
    fn default() -> Self {
        Self { rows: 5_000, every: Duration::from_millis(100) }
    }
}
