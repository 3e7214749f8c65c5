//! Monitors and notifiers: what is watched, against what, and who is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_core::Time;

use super::Meta;

/// A watch over a model, a source or a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// What is watched.
    pub target: MonitorTarget,
    /// Window and cadence, on the data clock.
    pub every: Every,
    /// Whose months and midnights; an IANA name.
    #[serde(default = "utc")]
    pub timezone: String,
    /// What the window is compared with.
    pub reference: Reference,
    /// What is judged.
    pub checks: Vec<Check>,
    /// Notifiers by name.
    #[serde(default)]
    pub notify: Vec<String>,
}

/// A calendar month in the monitor's time zone, or a fixed length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// Whole calendar months, UTC unless the monitor says otherwise.
    Months(u32),
    /// A fixed length.
    Duration(Duration),
}

/// What a monitor watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MonitorTarget {
    /// The predictions, inputs and labels of the champion.
    Model(String),
    /// Rows of a source.
    Source(String),
    /// Rows of a view.
    View(String),
}

/// What a window is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The training snapshot of the serving version.
    Training,
    /// Rows of a fixed range.
    Range {
        /// First instant.
        from: Time,
        /// First instant after it.
        to: Time,
    },
}

/// One thing that a monitor judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A drift score of columns (`prediction` names the model's output).
    Drift {
        /// `psi`, `js` or `ks`.
        measure: String,
        /// Columns.
        columns: Vec<String>,
        /// Above it is shown.
        warn: Option<f64>,
        /// Above it opens an incident.
        fail: f64,
    },
    /// Change of the label's mean against the reference.
    LabelRate {
        /// The label.
        label: String,
        /// Largest absolute change.
        max_change: f64,
    },
    /// Drop of the AUC against the holdout's at registration.
    Auc {
        /// The label.
        label: String,
        /// Largest drop.
        max_drop: f64,
    },
    /// Share of nulls.
    NullRate {
        /// The column.
        column: String,
        /// Largest share.
        max: f64,
    },
    /// Age of the newest row of a source or view at the window's end.
    Freshness {
        /// The source or view.
        object: String,
        /// Largest age.
        max: Duration,
    },
    /// Rows in the window.
    Volume {
        /// Least number.
        min: u64,
    },
}

/// Where incidents are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notifier {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// A URL, possibly `${{ secrets.NAME }}`; resolved where it is used, never stored resolved.
    pub webhook_url: String,
}

fn utc() -> String {
    "UTC".to_owned()
}
