//! Whether Redis says what the lake says: entity by entity, for one view.
//!
//! Online values come from the same function that serving calls; offline ones from the point-in-time join that
//! training sets are made of. What agrees is [`Rule::agrees`](tidemill_spec::Rule::agrees)'s.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arrow::array::RecordBatch;
use serde::Serialize;
use tidemill_core::{Clock as _, Fault, SystemClock, Time};
use tidemill_offline::{KnownAt, Read, View};
use tidemill_online::ViewFeatures;
use tidemill_rows::value_at;
use tidemill_spec::Value;

use crate::{
    Deps, Error,
    catch_up::catch_up,
    read::{now_online, offline_features},
    subject::Subject,
};

/// Differences that are shown; all are counted.
const DIFFERENCES_MAX: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
/// Entities that are compared at once.
const ENTITIES_AT_ONCE: usize = 1_000;

/// What the comparison found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parity {
    /// The view.
    pub view: String,
    /// Its version.
    pub version: i32,
    /// The moment of the data clock that both were asked for.
    pub at: Time,
    /// Entities that the view, or an input of its own entity, has ever had a row of.
    pub entities: usize,
    /// Those whose online features all equal the offline ones.
    pub equal: usize,
    /// Some of the differences.
    pub differing: Vec<Difference>,
}

/// One feature that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Key values, in declared order.
    pub entity: Vec<Value>,
    /// The feature.
    pub feature: String,
    /// What Redis says.
    pub online: Value,
    /// What the lake says.
    pub offline: Value,
}

/// Compares every entity of an online view, after everything that was published before has reached it.
///
/// # Errors
/// The view isn't online, or doesn't get up to date within a minute because no worker runs its updates.
pub async fn parity(deps: &Deps, view: &str) -> Result<Parity, Error> {
    let subject = Subject::current(deps, view).await?;
    if !subject.read_online() {
        let fault = Fault::coded(614, format!("view `{view}` is not online"));
        return Err(Error::Invalid(fault.hint("declare `online: true` on it")));
    }
    let now = deps.catalog.store().data_clock().await?.at(SystemClock.now());
    catch_up(deps, view, Some(now), PATIENCE).await?;
    let mut at = now;
    for stored in subject.view.stored() {
        let position = deps.catalog.position(stored.name(), stored.version).await?;
        at = position.map_or(at, |position| position.data_clock.min(at));
    }
    let head = deps.lake.head().await?;
    let entities = entities(deps, &subject, head).await?;
    let mut parity = Parity {
        view: view.to_owned(),
        version: subject.version.version,
        at,
        entities: entities.len(),
        equal: 0,
        differing: Vec::new(),
    };
    for entities in entities.chunks(ENTITIES_AT_ONCE) {
        let offline = offline_features(deps, &subject, entities, at, KnownAt::Any, head).await?;
        let online = now_online(deps, &subject, entities, at).await?;
        for ((entity, online), offline) in entities.iter().zip(&online).zip(&offline) {
            parity.compare(&subject, entity, online, offline);
        }
    }
    Ok(parity)
}

impl Parity {
    fn compare(
        &mut self,
        subject: &Subject,
        entity: &[Value],
        online: &ViewFeatures,
        offline: &ViewFeatures,
    ) {
        let features = &subject.view.definition.features;
        let differs = |(name, online): &(&String, &Value)| {
            !features[name.as_str()].rule.agrees(online, &offline.values[name.as_str()])
        };
        let differing: Vec<(&String, &Value)> = online.values.iter().filter(differs).collect();
        self.equal += usize::from(differing.is_empty());
        let left = DIFFERENCES_MAX.saturating_sub(self.differing.len());
        self.differing.extend(differing.into_iter().take(left).map(|(feature, online)| Difference {
            entity: entity.to_vec(),
            feature: feature.clone(),
            online: online.clone(),
            offline: offline.values[feature.as_str()].clone(),
        }));
    }
}

/// Every entity that the view, or an input of its own entity, has ever had a row of, in order.
async fn entities(deps: &Deps, subject: &Subject, head: i64) -> Result<Vec<Vec<Value>>, Error> {
    let mut entities = BTreeSet::new();
    for view in subject.view.of_same_entity() {
        entities.extend(entities_of(deps, view, head).await?);
    }
    Ok(entities.into_iter().collect())
}

async fn entities_of(deps: &Deps, view: &View, head: i64) -> Result<Vec<Vec<Value>>, Error> {
    let names: Vec<String> = view.entity.keys.keys().cloned().collect();
    let read = Read { columns: Some(names.clone()), ..Read::all(view.table(), head) };
    let entities: Arc<Mutex<Vec<Vec<Value>>>> = Arc::default();
    let found = Arc::clone(&entities);
    // Rows come sorted by key, so an entity's are next to each other.
    let take = move |batch: &RecordBatch| {
        let columns: Vec<_> = names.iter().filter_map(|name| batch.column_by_name(name)).collect();
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        for row in 0..batch.num_rows() {
            let key: Vec<Value> = columns.iter().map(|array| value_at(array, row)).collect();
            if found.last() != Some(&key) {
                found.push(key);
            }
        }
        Ok(())
    };
    deps.lake.read_each(&read, take).await?;
    Ok(std::mem::take(&mut *entities.lock().unwrap_or_else(PoisonError::into_inner)))
}
