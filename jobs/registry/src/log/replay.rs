//! `predictions.replay`: one prediction again. What the version says of the logged features now, and what the lake says
//! the features were at that moment.
//!
//! The version never changes, and its features are in the log: so it says the same, bit for bit, unless libraries of the
//! workers changed. Against the lake the features may differ: rows that were accepted by that moment but had not reached
//! Redis, rows that were taken away since, or values of Redis that were wrong. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::cast,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidemill_catalog::ModelVersion;
use tidemill_core::{JobError, Kind, PredictionId, Time};
use tidemill_offline::{KnownAt, PitRequest, View};
use tidemill_rows::{
    CREATED_AT, Row, VALID_AT, arrow_type,
    prediction_log::{CODE, Columns, MASKED, VERSION, VIEWS},
    rows_of,
};
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::{Rule, Type, Value, ViewKind};
use tidemill_store::NewJob;

use super::read::{Found, find, models, one};
use crate::{Deps, Error, Warm, pinned_views};

/// Kind of [`ReplayJob`].
const PREDICTIONS_REPLAY: Kind = Kind::new("predictions.replay");
/// The column of the moment that the lake is asked for.
const MOMENT: &str = "_moment";

/// Which prediction. Stored in the queue: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionsReplay {
    id: PredictionId,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// The prediction.
    pub id: PredictionId,
    /// The model.
    pub model: String,
    /// The version that answered, and answers now.
    pub version: i32,
    /// What the data clock showed.
    pub at: Json,
    /// When it was answered, real time.
    pub answered_at: Json,
    /// The version says of the logged features what it said then, to the last bit; null where no output could be compared.
    pub same_outputs: Option<bool>,
    /// The lake says that the features were what was served; null where no feature could be compared.
    pub same_features: Option<bool>,
    /// Each output as a column of tables.
    pub outputs: Vec<Compared>,
    /// Each feature.
    pub features: Vec<Compared>,
    /// Columns that the log has masked: the lake's values are taken for them where it has any.
    pub masked: Vec<String>,
    /// What the figures don't say.
    pub notes: Vec<String>,
}

/// A value then and now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The column.
    pub column: String,
    /// As it is logged.
    pub logged: Json,
    /// An output: what the version says now. A feature: what the lake says it was.
    pub now: Json,
    /// Whether they are equal; null where that can't be said.
    pub same: Option<bool>,
}

/// The job.
#[derive(Clone, Debug)]
pub struct ReplayJob {
    deps: Deps,
}

impl ReplayJob {
    /// With what it needs.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for ReplayJob {
    type Args = PredictionsReplay;
    type Checkpoint = ();
    const KIND: Kind = PREDICTIONS_REPLAY;

    async fn run(&self, args: &PredictionsReplay, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let replay = replay(&self.deps, args.id, cx.now_data().await?).await?;
        Ok(Outcome::Completed(serde_json::to_value(&replay).map_err(JobError::discard)?))
    }
}

/// The job for a prediction; asking again while one waits changes nothing.
pub fn replay_new(id: PredictionId) -> NewJob {
    NewJob {
        key: Some(format!("{PREDICTIONS_REPLAY}/{id}")),
        ..job_new(PREDICTIONS_REPLAY, &PredictionsReplay { id })
    }
}

/// Predicts again what was logged. `now`: what the data clock shows.
///
/// # Errors
/// The prediction is not in the log or has no answer, its version can't be loaded, or a server can't be reached.
pub async fn replay(deps: &Deps, id: PredictionId, now: Time) -> Result<Replay, Error> {
    let known = models(&deps.lake).await?;
    let missing = || Error::NotLogged { prediction: id.to_string() };
    let Found { model, row } = find(&deps.lake, &known, id).await?.ok_or_else(missing)?;
    let version = answered_by(deps, id, &model, &first(&row)?).await?;
    let columns = Columns::of_version(&version.keys, &version.hydration, &version.request, &version.outputs);
    // In the version's own types: those of another one's columns may be others.
    let batch = one(&deps.lake, &model, id, Some(columns.schema())).await?;
    if batch.num_rows() == 0 {
        return Err(missing());
    }
    let row = first(&batch)?;
    let masked = names(row.get(MASKED));

    let mut notes = Vec::new();
    if row.get(VALID_AT) == Some(&Value::Timestamp(now)) {
        notes.push(
            "the data clock stands still: rows that were accepted since at that moment count, too".to_owned(),
        );
    }
    let lake = lake_then(deps, &version, &batch, &masked, &mut notes).await?;
    let said = said_now(deps, &version, &batch, &masked, lake.as_ref(), &mut notes).await?;
    let said = said.as_ref().map(first).transpose()?;
    let outputs = columns.outputs.iter().map(|(own, (name, _))| (own, name));
    let outputs = compared(outputs, &row, said.as_ref(), &masked, &BTreeMap::new());
    let lake = lake.as_ref().map(first).transpose()?;
    let features = columns.row.keys().filter(|name| version.hydration.columns.contains_key(*name));
    let features = features.map(|name| (name, name));
    let features = compared(features, &row, lake.as_ref(), &masked, &rules(deps, &version).await?);
    Ok(Replay {
        id,
        version: version.version,
        at: json_of(&row, VALID_AT),
        answered_at: json_of(&row, CREATED_AT),
        same_outputs: all_same(&outputs),
        same_features: all_same(&features),
        outputs,
        features,
        masked,
        notes,
        model,
    })
}

/// The version that answered.
async fn answered_by(deps: &Deps, id: PredictionId, model: &str, row: &Row) -> Result<ModelVersion, Error> {
    if let Some(Value::String(code)) = row.get(CODE) {
        return Err(Error::NoAnswer { prediction: id.to_string(), code: code.clone() });
    }
    let number = match row.get(VERSION) {
        Some(Value::Int(number)) => i32::try_from(*number).unwrap_or(i32::MAX),
        _ => return Err(Error::NoAnswer { prediction: id.to_string(), code: "no version".to_owned() }),
    };
    let unknown = || Error::UnknownVersion { model: model.to_owned(), version: number };
    deps.catalog.model_version(model, number).await?.ok_or_else(unknown)
}

/// The features as the lake knew them, where it can be asked.
async fn lake_then(
    deps: &Deps,
    version: &ModelVersion,
    batch: &RecordBatch,
    masked: &[String],
    notes: &mut Vec<String>,
) -> Result<Option<RecordBatch>, Error> {
    let asked = |name: &&String| version.keys.contains_key(*name) || version.request.contains_key(*name);
    let hidden: Vec<&str> = masked.iter().filter(asked).map(String::as_str).collect();
    if !hidden.is_empty() {
        notes.push(format!("the lake can't be asked: the log masks {}", hidden.join(", ")));
        return Ok(None);
    }
    match known_then(deps, version, batch, notes).await {
        Ok(lake) => Ok(Some(lake)),
        Err(Error::UnknownView { view }) => {
            notes.push(format!("view `{view}` is not there any more: what the lake knew can't be said"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What the version says of the logged row, if all that it takes is known.
async fn said_now(
    deps: &Deps,
    version: &ModelVersion,
    batch: &RecordBatch,
    masked: &[String],
    lake: Option<&RecordBatch>,
    notes: &mut Vec<String>,
) -> Result<Option<RecordBatch>, Error> {
    let taken = version.hydration.columns.keys().chain(version.request.keys());
    let lost = taken.filter(|name| {
        let hidden = masked.contains(name) && lake.is_none_or(|lake| lake.column_by_name(name).is_none());
        hidden || batch.column_by_name(name).is_none()
    });
    let lost: BTreeSet<&str> = lost.map(String::as_str).collect();
    if !lost.is_empty() {
        let lost = lost.into_iter().collect::<Vec<_>>().join(", ");
        notes.push(format!("the model can't be asked: neither the log nor the lake has {lost}"));
        return Ok(None);
    }
    let filled = filled(batch, masked, lake)?;
    Ok(Some(Warm::load_version(deps, version).await?.predict(&filled).await?))
}

/// How the features are computed that a version reads, by what they are called there; without those of views that are gone.
async fn rules(deps: &Deps, version: &ModelVersion) -> Result<BTreeMap<String, Rule>, Error> {
    let views = match pinned_views(&deps.catalog, version).await {
        Err(Error::UnknownView { .. }) => BTreeMap::new(),
        views => views?,
    };
    let mut rules = BTreeMap::new();
    for read in version.hydration.rounds.iter().flatten() {
        let Some(view) = views.get(&read.view) else { continue };
        for (name, feature) in &view.definition.features {
            rules.insert(read.column(name), feature.rule.clone());
        }
    }
    Ok(rules)
}

/// The features as the lake knew them at that moment: only rows that were accepted by then count.
async fn known_then(
    deps: &Deps,
    version: &ModelVersion,
    batch: &RecordBatch,
    notes: &mut Vec<String>,
) -> Result<RecordBatch, Error> {
    let views = pinned_views(&deps.catalog, version).await?;
    let asked = version.keys.keys().chain(version.request.keys());
    let mut columns: Vec<(String, ArrayRef, bool)> = Vec::new();
    for name in asked {
        if let Some(values) = batch.column_by_name(name)
            && !columns.iter().any(|(known, ..)| known == name)
        {
            columns.push((name.clone(), values.clone(), true));
        }
    }
    let moment = tidemill_rows::row::column(batch, VALID_AT)?;
    columns.push((MOMENT.to_owned(), cast(moment, &arrow_type(Type::Timestamp))?, false));
    let labels = RecordBatch::try_from_iter_with_nullable(columns)?;
    let head = deps.lake.head().await?;
    let view = |name: &str| views.get(name).cloned();
    let mut request = PitRequest::hydrating(labels, MOMENT, &version.hydration, view, head)?;
    request.known_at = KnownAt::Label;
    let snapshots = |view: &View| view.stored().iter().any(|view| view.kind() == ViewKind::Snapshots);
    if views.values().any(snapshots) {
        request.known_at = KnownAt::Any;
        notes.push("Python over views is read: rows that were accepted later count, too".to_owned());
    }
    let stale = names_of_stale(batch)?;
    if !stale.is_empty() {
        notes.push(format!("served from values that were stale, expired or absent: {}", stale.join(", ")));
    }
    Ok(deps.lake.point_in_time(&request).await?)
}

/// Views whose values were not fresh when they were served.
fn names_of_stale(batch: &RecordBatch) -> Result<Vec<String>, Error> {
    let row = first(batch)?;
    let Some(Value::String(views)) = row.get(VIEWS) else { return Ok(Vec::new()) };
    let views: Vec<Map<String, Json>> = serde_json::from_str(views).unwrap_or_default();
    let stale = views.iter().filter(|view| view.get("status").is_some_and(|status| status != "fresh"));
    Ok(stale.filter_map(|view| Some(view.get("view")?.as_str()?.to_owned())).collect())
}

/// The row with the lake's values in place of those that were masked.
fn filled(batch: &RecordBatch, masked: &[String], lake: Option<&RecordBatch>) -> Result<RecordBatch, Error> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, logged)| {
        let known = lake.filter(|_| masked.contains(field.name()));
        let values = known.and_then(|lake| lake.column_by_name(field.name())).unwrap_or(logged);
        Ok((field.name().clone(), cast(values, field.data_type())?, true))
    });
    let columns = columns.collect::<Result<Vec<_>, arrow::error::ArrowError>>()?;
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// Columns then and now: what each is called now, and in the log.
fn compared<'a>(
    columns: impl Iterator<Item = (&'a String, &'a String)>,
    logged: &Row,
    now: Option<&Row>,
    masked: &[String],
    rules: &BTreeMap<String, Rule>,
) -> Vec<Compared> {
    let null = Value::Null;
    let compare = |(own, name): (&String, &String)| {
        let then = logged.get(name).unwrap_or(&null);
        let current = now.and_then(|now| now.get(own));
        let sayable = !masked.contains(own);
        let agree = |current: &Value| match rules.get(own) {
            Some(rule) => rule.agrees(then, current),
            None => then.same(current),
        };
        let same = current.filter(|_| sayable).map(agree);
        let current = current.unwrap_or(&null);
        Compared { column: own.clone(), logged: then.to_json(), now: current.to_json(), same }
    };
    columns.map(compare).collect()
}

/// Whether all that could be compared are the same; none where nothing could.
fn all_same(compared: &[Compared]) -> Option<bool> {
    compared.iter().filter_map(|one| one.same).reduce(|all, same| all && same)
}

fn first(batch: &RecordBatch) -> Result<Row, Error> {
    Ok(rows_of(&batch.slice(0, 1))?.pop().unwrap_or_default())
}

fn names(value: Option<&Value>) -> Vec<String> {
    let Some(Value::List(names)) = value else { return Vec::new() };
    names.iter().map(ToString::to_string).collect()
}

fn json_of(row: &Row, name: &str) -> Json {
    row.get(name).map_or_else(|| json!(null), Value::to_json)
}
