//! What is known of a window, and what its reads are pinned to.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use tidemill_core::Time;
use tidemill_offline::Version;

/// What every read of a scan is pinned to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pin {
    pub(crate) clock: Time,
    pub(crate) lake: Version,
}

/// What is known of a window.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// What the window is compared with.
    pub reference: RecordBatch,
    /// Its rows; a model's with features, label and predictions.
    pub window: RecordBatch,
    /// AUC of the version on rows that training never saw.
    pub auc_reference: Option<f64>,
    /// AUC on the window's labels.
    pub auc: Option<f64>,
    /// The version was trained, or tried, on rows of the window.
    pub learnt: bool,
    /// Newest row of each source and view whose freshness is watched.
    pub newest: BTreeMap<String, Option<Time>>,
    /// When freshness is asked: the window's end, or the data clock within it.
    pub end: Time,
    /// The label that the version predicts, for a model.
    pub label: Option<String>,
    /// When everything that belongs to the window can be known: its end, and of a model the longest that a label of its
    /// training took after that.
    pub due: Time,
    /// The data clock.
    pub now: Time,
    /// Whose rows of the window may still be on their way; empty once all have arrived.
    pub awaited: Vec<String>,
}

impl Facts {
    /// Rows of the window.
    pub(crate) fn rows(&self) -> u64 {
        self.window.num_rows() as u64
    }

    /// Whether nothing more can become known of the window: the clock has passed it, and its rows have arrived.
    pub(crate) fn complete(&self) -> bool {
        self.is_due() && self.awaited.is_empty()
    }

    /// Whether the clock has passed all that belongs to the window.
    pub(crate) fn is_due(&self) -> bool {
        self.now >= self.due
    }
}
