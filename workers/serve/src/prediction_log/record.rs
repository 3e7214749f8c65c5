//! What is kept of a request until it is written: taken once the reply is complete, so it is what the caller got.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value as Json};
use tidemill_core::{Code, PredictionId, RequestId, Time};
use tidemill_inference::Outputs;
use tidemill_online::{LiveModelVersion, Status, split::mixed};
use tidemill_rows::Row;
use tidemill_spec::{PredictionLog, Value};

use crate::{
    Error,
    ask::{Ask, Prediction},
    warm::{DEFAULT_ALIAS, Which},
};

/// Entities of one request.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) model: String,
    /// None where no version could take the request.
    pub(super) version: Option<u32>,
    /// What names and types the columns.
    pub(super) live: Arc<LiveModelVersion>,
    pub(super) log: Arc<PredictionLog>,
    pub(super) request: RequestId,
    pub(super) asked_as: String,
    /// What the data clock showed.
    pub(super) now: Time,
    /// When the reply was complete, real time.
    pub(super) answered_at: Time,
    pub(super) took: Duration,
    pub(super) entries: Vec<Entry>,
}

/// One entity.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: PredictionId,
    /// Keys, features and what the caller gave; of a request that failed as a whole what keys could be read.
    pub(super) row: Row,
    pub(super) views: Vec<ReadView>,
    pub(super) defaulted: Vec<String>,
    pub(super) outputs: Result<Outputs, Option<Code>>,
}

/// A view that was read.
#[derive(Debug, serde::Serialize)]
pub(super) struct ReadView {
    view: String,
    version: u32,
    status: Status,
    valid_at: Option<Time>,
}

impl Entry {
    /// Of an entity that has an answer, or an error of its own. Its row is taken, not copied: no door needs it any more.
    pub(super) fn answered(one: &mut Prediction) -> Self {
        let view = |view: &tidemill_online::ViewFeatures| ReadView {
            view: view.view.clone(),
            version: view.version,
            status: view.status,
            valid_at: view.valid_at,
        };
        Self {
            id: one.id,
            row: std::mem::take(&mut one.hydrated.row),
            views: one.hydrated.views.iter().map(view).collect(),
            defaulted: one.hydrated.defaulted.clone(),
            outputs: match &one.outputs {
                Ok(outputs) => Ok(outputs.clone()),
                Err(error) => Err(error.fault().code),
            },
        }
    }

    /// Of an entity of a request that failed as a whole.
    pub(super) fn failed(given: &Map<String, Json>, live: &LiveModelVersion, error: &Error) -> Self {
        let key = |(name, ty): (&String, &tidemill_spec::Type)| {
            let value = given.get(name).and_then(|json| Value::from_json(json, *ty).ok());
            (name.clone(), value.unwrap_or(Value::Null))
        };
        Self {
            id: PredictionId::generate(),
            row: live.keys.iter().map(key).collect(),
            views: Vec::new(),
            defaulted: Vec::new(),
            outputs: Err(error.fault().code),
        }
    }
}

/// How the version was asked for.
pub(super) fn asked_as(ask: &Ask) -> String {
    match &ask.which {
        Which::Champion => DEFAULT_ALIAS.to_owned(),
        Which::Alias(alias) => alias.clone(),
        Which::Version(version) => version.to_string(),
    }
}

/// Whether a prediction is in a sample: the same of the same id, and what is in a sample is in every larger one.
pub(super) fn sampled(id: PredictionId, share: f64) -> bool {
    // The bits of an id that are drawn at random, mixed: some of them count up.
    let (high, low) = id.as_uuid().as_u64_pair();
    let bits = mixed(high.rotate_left(32) ^ low);
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let place = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    place < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_share_and_a_larger_one_has_all_of_a_smaller() {
        let ids: Vec<PredictionId> = (0..20_000).map(|_| PredictionId::generate()).collect();
        let of = |share: f64| ids.iter().filter(move |id| sampled(**id, share)).collect::<Vec<_>>();
        assert_eq!(of(1.0).len(), ids.len());
        let (small, large) = (of(0.1), of(0.3));
        // Five standard deviations of a fair draw.
        assert!(
            small.len().abs_diff(2_000) < 213 && large.len().abs_diff(6_000) < 325,
            "{} {}",
            small.len(),
            large.len()
        );
        assert!(small.iter().all(|id| large.contains(id)));
    }
}
