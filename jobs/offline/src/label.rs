//! Label rows: what happened, and the moment at which it was asked.

use arrow::array::RecordBatch;
use tidemill_core::Time;
use tidemill_spec::{Entity, Label, Source};

use crate::{Error, Lake, Version};

/// Which label rows.
#[derive(Clone, Debug)]
pub struct LabelRequest {
    /// The label.
    pub label: Label,
    /// Its entity.
    pub entity: Entity,
    /// Its source.
    pub source: Source,
    /// First event time.
    pub from: Time,
    /// First event time after them.
    pub to: Time,
    /// The data clock: rows known later have not matured.
    pub clock: Time,
    /// The state of the lake that is read.
    pub version: Version,
}

/// Label rows, and what was left out.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The entity's keys, `label_ts` (the moment asked at), `event_time`, `matured_at`, and the answer in a column of
    /// the label's name; sorted by (`label_ts`, keys).
    pub rows: RecordBatch,
    /// Rows left out because the answer, the moment or a key is null.
    pub left_out: i64,
}

impl Lake {
    /// Rows with `from <= event time < to` that have matured: the newest of each unique key, unless deleted.
    pub async fn labels(&self, _request: &LabelRequest) -> Result<Labels, Error> {
        todo!()
    }
}
