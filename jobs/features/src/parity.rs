//! Whether Redis says what the lake says: entity by entity, for one view.
//!
//! Online values come from the same function that serving calls; offline ones from the point-in-time join that
//! training sets are made of. Everything is equal bit for bit, but for sums, whose rows may have been added in
//! tiles: they agree within 1e-12 of their size.

use std::{collections::BTreeSet, time::Duration};

use serde::Serialize;
use tidemill_core::{Clock as _, Fault, SystemClock, Time};
use tidemill_offline::{CommitRange, Filter, KnownAt, Read};
use tidemill_online::values;
use tidemill_rows::{row::column, value_at};
use tidemill_spec::{Aggregate, Rule, Value};

use crate::{Deps, Error, catch_up::catch_up, read::offline_features, subject::Subject};

/// Differences that are shown; all are counted.
const DIFFERENCES_MAX: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);
const SUM_TOLERANCE: f64 = 1e-12;

/// What the comparison found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parity {
    /// The view.
    pub view: String,
    /// Its version.
    pub version: i32,
    /// The moment of the data clock that both were asked for.
    pub at: Time,
    /// Entities that the view has ever had a row of.
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
    let Some(online) = &subject.online else {
        let fault = Fault::coded(614, format!("view `{view}` is not online"));
        return Err(Error::Invalid(fault.hint("declare `online: true` on it")));
    };
    let now = deps.catalog.store().data_clock().await?.at(SystemClock.now());
    catch_up(deps, view, Some(now), PATIENCE).await?;
    let position = deps.catalog.position(subject.name(), subject.version.version).await?;
    let at = position.map_or(now, |position| position.data_clock);
    let head = deps.lake.head().await?;
    let entities = entities(deps, &subject, head).await?;
    let offline = offline_features(deps, &subject, &entities, at, KnownAt::Any, head).await?;
    let reads: Vec<_> = entities.iter().map(|key| tidemill_online::Read { view: online, key }).collect();
    let found = deps.online.read(&reads).await?;
    let mut parity = Parity {
        view: view.to_owned(),
        version: subject.version.version,
        at,
        entities: entities.len(),
        equal: 0,
        differing: Vec::new(),
    };
    for ((entity, bytes), offline) in entities.iter().zip(found).zip(offline) {
        let online_features = values(online, bytes.as_deref(), at)?;
        let before = parity.differing.len();
        let mut same = true;
        for (feature, online) in &online_features.values {
            let offline = &offline.values[feature.as_str()];
            if equal(&subject.view.definition.features[feature.as_str()].rule, online, offline) {
                continue;
            }
            same = false;
            parity.differing.push(Difference {
                entity: entity.clone(),
                feature: feature.clone(),
                online: online.clone(),
                offline: offline.clone(),
            });
        }
        parity.equal += usize::from(same);
        if before >= DIFFERENCES_MAX {
            parity.differing.truncate(DIFFERENCES_MAX);
        }
    }
    Ok(parity)
}

/// Every entity that the view's inputs have ever named.
async fn entities(deps: &Deps, subject: &Subject, head: i64) -> Result<Vec<Vec<Value>>, Error> {
    let names: Vec<String> = subject.view.entity.keys.keys().cloned().collect();
    let read = Read {
        table: subject.view.table(),
        commits: CommitRange::upto(head),
        filter: Filter::default(),
        columns: Some(names.clone()),
    };
    let rows = deps.lake.read(&read).await?;
    if rows.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let columns = names.iter().map(|name| Ok(column(&rows, name)?)).collect::<Result<Vec<_>, Error>>()?;
    let key = |row| columns.iter().map(|array| value_at(array, row)).collect::<Vec<_>>();
    Ok((0..rows.num_rows()).map(key).collect::<BTreeSet<_>>().into_iter().collect())
}

fn equal(rule: &Rule, online: &Value, offline: &Value) -> bool {
    match (rule, online, offline) {
        (
            Rule::Window { aggregate: Aggregate::Sum | Aggregate::Mean, .. },
            Value::Float(online),
            Value::Float(offline),
        ) => {
            online == offline
                || (online.is_nan() && offline.is_nan())
                || (online - offline).abs() <= SUM_TOLERANCE * online.abs().max(offline.abs())
        }
        (_, Value::Float(online), Value::Float(offline)) => {
            online.to_bits() == offline.to_bits() || (online.is_nan() && offline.is_nan())
        }
        _ => online == offline,
    }
}
