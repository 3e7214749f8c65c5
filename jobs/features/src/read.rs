//! Features of entities, as people and programs ask for them: now, or as of any moment.

use std::{sync::Arc, time::Duration};

use arrow::array::{ArrayRef, RecordBatch};
use indexmap::IndexMap;
use serde::Serialize;
use tidemill_core::{Fault, Time};
use tidemill_offline::{KnownAt, PitRead, PitRequest};
use tidemill_online::{Status, ViewFeatures};
use tidemill_rows::{Row, array, json_rows, row::column, value_at};
use tidemill_spec::{Feature, HydrationRead, KeyOrigin, Rule, Type, Value};

use crate::{
    Deps, Error,
    backlog::{Backlog, FailedUpdate, Progress, progress},
    catch_up::catch_up,
    subject::Subject,
};

/// How long a question about the past waits for a view that is behind.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which features of which entities.
#[derive(Clone, Debug, Default)]
pub struct GetRequest {
    /// Key columns of each entity, as JSON or as text. Keys that a view doesn't have are left aside.
    pub entities: Vec<serde_json::Map<String, serde_json::Value>>,
    /// `view` or `view:feature`. None at all: every online view whose keys are given.
    pub features: Vec<String>,
    /// The moment; `None`: now by the data clock, from Redis where the view is online.
    pub at: Option<Time>,
    /// Which corrections count when `at` is given.
    pub known_at: KnownAt,
}

/// One entity's features in one view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GotFeatures {
    /// The values, and whether they may be relied on.
    #[serde(flatten)]
    pub features: ViewFeatures,
    /// The moment they are of, on the data clock.
    pub at: Time,
    /// Where they were read: `online` or `offline`.
    pub store: &'static str,
    /// What the view has yet to consume, if anything: newer rows may change the values, so they are not `fresh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog: Option<Backlog>,
    /// What holds the view up for good, until somebody mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedUpdate>,
}

/// Features of each entity in the order asked; for each, one item a view.
///
/// # Errors
/// A view or feature that isn't declared, a key that is missing or of another type.
pub async fn get(deps: &Deps, request: &GetRequest) -> Result<Vec<Vec<GotFeatures>>, Error> {
    let wanted = wanted(deps, request).await?;
    let now =
        deps.catalog.store().data_clock().await?.at(tidemill_core::Clock::now(&tidemill_core::SystemClock));
    let at = request.at.unwrap_or(now);
    let mut got: Vec<Vec<GotFeatures>> = vec![Vec::new(); request.entities.len()];
    for wanted in &wanted {
        let keys = request.entities.iter().map(|entity| keys_of(&wanted.subject, entity));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let Found { features, store, progress } = read(deps, request, wanted, &keys, at).await?;
        let Progress { backlog, failed } = progress;
        let behind = backlog.is_some() || failed.is_some();
        for (entity, features) in got.iter_mut().zip(features) {
            let features = behind_is_stale(wanted.pick(features), behind);
            entity.push(GotFeatures { features, at, store, backlog, failed: failed.clone() });
        }
    }
    Ok(got)
}

/// Stored rows of one entity in a view, oldest first, at most the `last` ones, as JSON.
pub async fn history(
    deps: &Deps,
    view: &str,
    entity: &serde_json::Map<String, serde_json::Value>,
    last: u32,
) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, Error> {
    let subject = Subject::current(deps, view).await?;
    if !subject.stored() {
        let fault =
            Fault::coded(614, format!("view `{view}` has no rows: it is computed whenever it is asked"));
        let hint = format!(
            "tidemill features get --view {view} --entity KEY --at TIME, or the history of one of its inputs"
        );
        return Err(Error::Invalid(fault.hint(hint)));
    }
    let key = keys_of(&subject, entity)?;
    catch_up(deps, view, None, PATIENCE).await?;
    let rows = deps.lake.history(&subject.view, &key, deps.lake.head().await?, last).await?;
    Ok(json_rows(&rows)?)
}

/// What was found in one view, for each entity in their order.
struct Found {
    features: Vec<ViewFeatures>,
    store: &'static str,
    progress: Progress,
}

/// Reads one view. A question about now is answered with what there is, and with what holds the view up, so that one
/// view never costs the others their answer; a question about the past waits until it can be answered exactly.
async fn read(
    deps: &Deps,
    request: &GetRequest,
    wanted: &Wanted,
    keys: &[Vec<Value>],
    at: Time,
) -> Result<Found, Error> {
    let view = wanted.subject.name();
    let now = request.at.is_none() && request.known_at == KnownAt::Any;
    if !now {
        // What was accepted before the question counts.
        catch_up(deps, view, None, PATIENCE).await?;
        let features = as_of(deps, wanted, keys, at, request.known_at).await?;
        return Ok(Found { features, store: "offline", progress: Progress::default() });
    }
    let mut held_up = progress(deps, view).await?;
    if wanted.subject.read_online() {
        match now_online(deps, &wanted.subject, keys, at).await {
            Ok(features) => return Ok(Found { features, store: "online", progress: held_up }),
            // Redis holds what another release wrote, until the next update writes it again: the lake knows it too.
            Err(Error::Online(tidemill_online::Error::Unreadable { .. })) => {}
            Err(error) => return Err(error),
        }
    } else if held_up.failed.is_none() {
        match catch_up(deps, view, None, PATIENCE).await {
            Ok(()) => held_up = Progress::default(),
            // It failed meanwhile, or no worker got to it.
            Err(Error::Invalid(_)) => held_up = progress(deps, view).await?,
            Err(error) => return Err(error),
        }
    }
    let features = as_of(deps, wanted, keys, at, KnownAt::Any).await?;
    Ok(Found { features, store: "offline", progress: held_up })
}

/// What is found while newer rows wait is never called fresh.
fn behind_is_stale(features: ViewFeatures, behind: bool) -> ViewFeatures {
    match features.status {
        Status::Fresh if behind => ViewFeatures { status: Status::Stale, ..features },
        _ => features,
    }
}

/// A view that was asked for, and which of its features.
struct Wanted {
    subject: Subject,
    features: Option<Vec<String>>,
}

impl Wanted {
    fn pick(&self, mut found: ViewFeatures) -> ViewFeatures {
        if let Some(features) = &self.features {
            found.values.retain(|name, _| features.contains(name));
            found.defaulted.retain(|name| features.contains(name));
        }
        found
    }
}

async fn wanted(deps: &Deps, request: &GetRequest) -> Result<Vec<Wanted>, Error> {
    if request.features.is_empty() {
        let mut wanted = Vec::new();
        for version in deps.catalog.current_views().await? {
            let subject = Subject::current(deps, &version.view).await?;
            let given = |entity: &serde_json::Map<_, _>| {
                subject.view.entity.keys.keys().all(|key| entity.contains_key(key))
            };
            if subject.read_online() && request.entities.iter().all(given) {
                wanted.push(Wanted { subject, features: None });
            }
        }
        return Ok(wanted);
    }
    let mut by_view: IndexMap<&str, Option<Vec<String>>> = IndexMap::new();
    for asked in &request.features {
        match asked.split_once(':') {
            None => drop(by_view.insert(asked, None)),
            Some((view, feature)) => {
                if let Some(features) = by_view.entry(view).or_insert_with(|| Some(Vec::new())) {
                    features.push(feature.to_owned());
                }
            }
        }
    }
    let mut wanted = Vec::new();
    for (view, features) in by_view {
        let subject = Subject::current(deps, view).await?;
        let declared = &subject.view.definition.features;
        if let Some(unknown) = features.iter().flatten().find(|name| !declared.contains_key(*name)) {
            let names = declared.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let fault = Fault::coded(613, format!("view `{view}` has no feature `{unknown}`"));
            return Err(Error::Invalid(fault.hint(format!("its features are {names}"))));
        }
        wanted.push(Wanted { subject, features });
    }
    Ok(wanted)
}

/// Key values in the order of the view's entity, typed.
fn keys_of(
    subject: &Subject,
    entity: &serde_json::Map<String, serde_json::Value>,
) -> Result<Vec<Value>, Error> {
    let keys = subject.view.entity.keys.iter();
    keys.map(|(name, ty)| {
        let json = entity.get(name).ok_or_else(|| missing_key(subject, name))?;
        let value = match json {
            serde_json::Value::String(text) => Value::parse(text, *ty),
            _ => Value::from_json(json, *ty),
        };
        value.map_err(|wrong| {
            Error::Invalid(Fault::coded(
                616,
                format!("key `{name}` of entity `{}`: {wrong}", subject.view.entity.name),
            ))
        })
    })
    .collect()
}

fn missing_key(subject: &Subject, name: &str) -> Error {
    let entity = &subject.view.entity;
    let keys = entity.keys.keys().map(|key| format!("--entity {key}=…")).collect::<Vec<_>>().join(" ");
    let fault = Fault::coded(
        616,
        format!("view `{}` needs the key `{name}` of entity `{}`", subject.name(), entity.name),
    );
    Error::Invalid(fault.hint(keys))
}

/// What serving would find now.
pub(crate) async fn now_online(
    deps: &Deps,
    subject: &Subject,
    keys: &[Vec<Value>],
    now: Time,
) -> Result<Vec<ViewFeatures>, Error> {
    let (name, names) = (subject.name().to_owned(), subject.view.entity.keys.keys());
    let read = HydrationRead {
        view: name.clone(),
        role: None,
        keys: names.clone().cloned().map(KeyOrigin::Request).collect(),
        features: Vec::new(),
    };
    let given: Vec<Row> =
        keys.iter().map(|key| names.clone().cloned().zip(key.iter().cloned()).collect()).collect();
    // What Redis has lost is told by `status`; here it is absent.
    let views = IndexMap::from([(name, tidemill_live::live_view_of(&subject.view, &|_| false))]);
    let (online, evaluator) = (&deps.online, deps.lake.evaluator());
    let hydrated = online.hydrate(evaluator, &[&read], &views, &given, (now, PATIENCE)).await?;
    let mut found = Vec::new();
    for one in hydrated {
        match one.unreadable {
            Some(error) => return Err(error.into()),
            None => found.extend(one.views.into_iter().flatten()),
        }
    }
    Ok(found)
}

async fn as_of(
    deps: &Deps,
    wanted: &Wanted,
    keys: &[Vec<Value>],
    at: Time,
    known_at: KnownAt,
) -> Result<Vec<ViewFeatures>, Error> {
    offline_features(deps, &wanted.subject, keys, at, known_at, deps.lake.head().await?).await
}

/// All features of a view for some entities as of one moment, by the point-in-time join.
pub(crate) async fn offline_features(
    deps: &Deps,
    subject: &Subject,
    keys: &[Vec<Value>],
    at: Time,
    known_at: KnownAt,
    version: i64,
) -> Result<Vec<ViewFeatures>, Error> {
    const MOMENT: &str = "_at";
    const FOUND_AT: &str = "_found_at";
    let view = &subject.view;
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (position, (name, ty)) in view.entity.keys.iter().enumerate() {
        columns.push((key_column(name), array(name, *ty, keys.iter().map(|key| &key[position]))?));
    }
    let moment = Value::Timestamp(at);
    columns
        .push((MOMENT.to_owned(), array(MOMENT, Type::Timestamp, std::iter::repeat_n(&moment, keys.len()))?));
    let read = PitRead {
        view: view.clone(),
        role: None,
        keys: view.entity.keys.keys().map(|key| KeyOrigin::Request(key_column(key))).collect(),
        features: view.definition.features.keys().map(|name| (name.clone(), name.clone())).collect(),
        found_at: Some(FOUND_AT.to_owned()),
    };
    let request = PitRequest {
        labels: RecordBatch::try_from_iter(columns)?,
        label_ts: MOMENT.to_owned(),
        reads: vec![read],
        version,
        known_at,
        on_demand: None,
    };
    let joined = deps.lake.point_in_time(&request).await?;
    let found_at = Arc::clone(column(&joined, FOUND_AT)?);
    let features = view.definition.features.keys();
    let features =
        features.map(|name| Ok((name, column(&joined, name)?))).collect::<Result<Vec<_>, Error>>()?;
    let one = |row| {
        let valid_at = match value_at(&found_at, row) {
            Value::Timestamp(time) => Some(time),
            _ => None,
        };
        // As online: counts over nothing are 0 for good, everything else that has a default took it.
        let defaulted = |(name, feature): (&String, &Feature)| {
            let counts = matches!(feature.rule, Rule::Window { aggregate, .. } if aggregate.counts());
            (valid_at.is_none() && feature.default.is_some() && !counts).then(|| name.clone())
        };
        ViewFeatures {
            view: subject.name().to_owned(),
            version: view.version.unsigned_abs(),
            status: status(subject, valid_at, at),
            valid_at,
            values: features.iter().map(|(name, array)| ((*name).clone(), value_at(array, row))).collect(),
            defaulted: view.definition.features.iter().filter_map(defaulted).collect(),
        }
    };
    Ok((0..joined.num_rows()).map(one).collect())
}

/// A feature may have the name of a key, so label columns get names of their own.
fn key_column(name: &str) -> String {
    format!("_key_{name}")
}

fn status(subject: &Subject, valid_at: Option<Time>, at: Time) -> Status {
    let limit = subject.view.definition.freshness.and_then(|freshness| freshness.fail);
    match (valid_at, limit) {
        (None, _) => Status::Absent,
        (Some(valid_at), Some(limit)) if (at - valid_at).to_std().is_ok_and(|age| age > limit) => {
            Status::Stale
        }
        _ => Status::Fresh,
    }
}
