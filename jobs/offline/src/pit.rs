//! The point-in-time join: what the features of each label row were at its own moment.
//!
//! For views with rows the winner is the greatest row by `(valid_at, created_at, seq)` with equal keys and
//! `valid_at <= label_ts`; then nothing is found where it is deleted or `valid_at < label_ts - ttl`. Where
//! nothing is found the feature's default is taken, or null; a winner's own null is a null. A null key joins
//! nothing. Every label row is kept, in order, duplicates too. Windows see [`crate::window`].

use arrow::array::RecordBatch;
use tidemill_core::Time;
use tidemill_spec::{Hydration, KeyOrigin};

use crate::{Error, Lake, Version, View};

/// What is asked: features of several views for rows with a moment each.
#[derive(Clone, Debug)]
pub struct PitRequest {
    /// The label rows; all columns are kept as they are.
    pub labels: RecordBatch,
    /// Their timestamp column that holds each row's moment; no nulls.
    pub label_ts: String,
    /// What to read, in order: a read may take its keys from the reads before it.
    pub reads: Vec<PitRead>,
    /// The state of the lake that is read.
    pub version: Version,
    /// Which corrections count.
    pub known_at: KnownAt,
}

/// One view to read.
#[derive(Clone, Debug)]
pub struct PitRead {
    /// The view.
    pub view: View,
    /// For each key column of its entity: where its value comes from. `Request` names a label column.
    pub keys: Vec<KeyOrigin>,
    /// Features and the columns they become.
    pub features: Vec<(String, String)>,
    /// A column for the `valid_at` of what was found (for windows: of the newest row within the longest window
    /// asked for); null where nothing was.
    pub found_at: Option<String>,
}

/// Which rows count, by when they were accepted. Both ends are inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum KnownAt {
    /// All: corrections and bulk history count.
    #[default]
    Any,
    /// Those accepted by each label row's own moment.
    Label,
    /// Those accepted by this instant.
    Time(Time),
}

impl PitRead {
    /// All features of a view under their own names, keys from the label columns of the same names.
    pub fn all(view: View) -> Self {
        let keys = view.entity.keys.keys().map(|key| KeyOrigin::Request(key.clone())).collect();
        let features = view.definition.features.keys().map(|name| (name.clone(), name.clone())).collect();
        Self { view, keys, features, found_at: None }
    }
}

impl PitRequest {
    /// What a model's vector needs: every read of its hydration, features under their own names.
    /// `view`: finds the version to read of each view.
    ///
    /// # Errors
    /// A view that `view` doesn't know.
    pub fn hydrating(
        labels: RecordBatch,
        label_ts: impl Into<String>,
        hydration: &Hydration,
        view: impl Fn(&str) -> Option<View>,
        version: Version,
    ) -> Result<Self, Error> {
        let read = |read: &tidemill_spec::HydrationRead| {
            let view = view(&read.view)
                .ok_or_else(|| Error::invalid(602, format!("view `{}` has no version to read", read.view)))?;
            let features = read.features.iter().map(|name| (name.clone(), name.clone())).collect();
            Ok(PitRead { view, keys: read.keys.clone(), features, found_at: None })
        };
        let reads = hydration.rounds.iter().flatten().map(read).collect::<Result<_, Error>>()?;
        Ok(Self { labels, label_ts: label_ts.into(), reads, version, known_at: KnownAt::Any })
    }
}

impl Lake {
    /// The label rows with a column for every feature asked for.
    ///
    /// # Errors
    /// A null moment, a key column that is not there, two columns of one name, `known_at` with a derived view.
    pub async fn point_in_time(&self, _request: &PitRequest) -> Result<RecordBatch, Error> {
        todo!()
    }
}
