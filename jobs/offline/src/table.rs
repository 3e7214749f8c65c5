//! Names of lake tables, and what the manifest says of them.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidemill_core::Time;
use tidemill_spec::Source;

/// A state of the whole lake: commits are numbered through all tables, without gaps that a reader could see
/// filled later. 0 is the empty lake.
pub type Version = i64;

/// The name of a lake table: `source/NAME`, `view/NAME/VERSION`, `dead/NAME`, `predictions/MODEL`, `prediction_log/MODEL`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Table(String);

impl Table {
    /// Rows of a source.
    pub fn source(name: &str) -> Self {
        Self(format!("source/{name}"))
    }

    /// Computed rows of one version of a view; tiles of a window view.
    pub fn view(name: &str, version: i32) -> Self {
        Self(format!("view/{name}/{version}"))
    }

    /// Rows of a source that were refused.
    pub fn dead(source: &str) -> Self {
        Self(format!("dead/{source}"))
    }

    /// Batch predictions of a model.
    pub fn predictions(model: &str) -> Self {
        Self(format!("predictions/{model}"))
    }

    /// What serving answered with a model.
    pub fn prediction_log(model: &str) -> Self {
        Self(format!("prediction_log/{model}"))
    }

    /// The name, as the manifest and paths have it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Table {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitKind {
    /// Rows were added.
    Append,
    /// Files were merged; no answer changed.
    Compact,
    /// The table ended: nothing needed its rows any more.
    Drop,
    /// All rows of before were taken away; the table goes on.
    Truncate,
}

impl CommitKind {
    /// The word that the manifest uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Compact => "compact",
            Self::Drop => "drop",
            Self::Truncate => "truncate",
        }
    }
}

/// A file on the object store that no reader sees before it is published. Kept in checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Staged {
    /// Its path, which names its content: the same rows staged again give the same path.
    pub path: String,
    /// What its rows are sorted by, before the total order.
    pub keys: Vec<String>,
    /// Rows in it, at least 1.
    pub rows: i64,
    /// Its size.
    pub size_bytes: i64,
    /// Least and greatest `valid_at`, where the table has one.
    #[serde(default)]
    pub valid_at: Option<(Time, Time)>,
    /// Least and greatest `created_at`, where the table has one.
    #[serde(default)]
    pub created_at: Option<(Time, Time)>,
    /// In rows of a source: the column that gave them their `valid_at`.
    #[serde(default)]
    pub timed_by: Option<String>,
}

/// One published change of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// The version it made.
    pub version: Version,
    /// The key that makes it happen once.
    pub job_key: String,
    /// Rows it added.
    pub rows: i64,
    /// When, by the database's clock.
    pub committed_at: Time,
}

/// One file of a table, as of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LakeFile {
    /// Its path on the object store.
    pub path: String,
    /// The first commit whose rows it holds.
    pub first_commit: Version,
    /// The last one; greater than the first only after a compaction.
    pub last_commit: Version,
    /// Rows in it.
    pub rows: i64,
    /// Its size.
    pub size_bytes: i64,
    /// Least and greatest `valid_at`, where the table has one.
    pub valid_at: Option<(Time, Time)>,
    /// Least and greatest `created_at`, where the table has one.
    pub created_at: Option<(Time, Time)>,
    /// In rows of a source: the column that gave them their `valid_at`.
    pub timed_by: Option<String>,
}

impl LakeFile {
    /// Least and greatest `valid_at` of its rows as rows of `source`, if they are that and it is known.
    pub fn valid_at_of(&self, source: Option<&Source>) -> Option<(Time, Time)> {
        let same = |source: &Source| self.timed_by.as_ref() == Some(&source.available_time);
        self.valid_at.filter(|_| source.is_none_or(same))
    }
}
