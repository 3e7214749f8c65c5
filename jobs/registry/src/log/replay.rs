//! `predictions.replay`: one prediction again. What the version says of the logged features now, and what the lake says
//! the features were at that moment.
//!
//! The version never changes, and its features are in the log: so it says the same, bit for bit, unless libraries of the
//! workers changed. Against the lake the features may differ: rows that were accepted by that moment but had not reached
//! Redis, rows that were taken away since, or values of Redis that were wrong. Changes nothing.

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::cast,
};
use indexmap::IndexMap;
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
use tidemill_spec::{Type, Value, ViewKind};
use tidemill_store::NewJob;

use super::read::{Found, find, models};
use crate::{Deps, Error, Warm, pinned_views};

/// Kind of [`ReplayJob`].
const PREDICTIONS_REPLAY: Kind = Kind::new("predictions.replay");
/// The column of the moment that the lake is asked for.
const MOMENT: &str = "label_ts";

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
    /// The version says of the logged features what it said then, to the last bit.
    pub same_outputs: bool,
    /// The lake says that the features were what was served.
    pub same_features: bool,
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
    let Found { model, row: batch } =
        find(&deps.lake, &known, id).await?.ok_or(Error::NotLogged { prediction: id.to_string() })?;
    let row = first(&batch)?;
    let version = answered_by(deps, id, &model, &row).await?;
    let columns = Columns::of_version(&version.keys, &version.hydration, &version.request, &version.outputs);
    let masked = names(row.get(MASKED));
    let batch = typed(&batch, &columns.row)?;

    let mut notes = Vec::new();
    if row.get(VALID_AT) == Some(&Value::Timestamp(now)) {
        notes.push(
            "the data clock stands still: rows that were accepted since at that moment count, too".to_owned(),
        );
    }
    let lake = match known_then(deps, &version, &batch, &mut notes).await {
        Ok(lake) => Some(lake),
        Err(Error::UnknownView { view }) => {
            notes.push(format!("view `{view}` is not there any more: what the lake knew can't be said"));
            None
        }
        Err(error) => return Err(error),
    };
    let filled = filled(&batch, &masked, lake.as_ref())?;
    let said = Warm::load_version(deps, &version).await?.predict(&filled).await?;

    let outputs = compared(
        columns.outputs.iter().map(|(own, (name, _))| (own, name)),
        &row,
        Some(&first(&said)?),
        &masked,
    );
    let lake = lake.as_ref().map(first).transpose()?;
    let features = columns.row.keys().filter(|name| version.hydration.columns.contains_key(*name));
    let features = compared(features.map(|name| (name, name)), &row, lake.as_ref(), &masked);
    let all = |compared: &[Compared]| compared.iter().all(|one| one.same != Some(false));
    Ok(Replay {
        id,
        version: version.version,
        at: json_of(&row, VALID_AT),
        answered_at: json_of(&row, CREATED_AT),
        same_outputs: all(&outputs),
        same_features: all(&features),
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

/// The row's columns in the types that the version has them in: another version's may be stored beside it.
fn typed(batch: &RecordBatch, types: &IndexMap<String, Type>) -> Result<RecordBatch, Error> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, values)| {
        let values = match types.get(field.name()) {
            Some(ty) => cast(values, &arrow_type(*ty))?,
            None => values.clone(),
        };
        Ok((field.name().clone(), values, true))
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
) -> Vec<Compared> {
    let null = Value::Null;
    let compare = |(own, name): (&String, &String)| {
        let then = logged.get(name).unwrap_or(&null);
        let current = now.and_then(|now| now.get(own));
        let sayable = !masked.contains(own);
        let same = current.filter(|_| sayable).map(|current| equal(then, current));
        let current = current.unwrap_or(&null);
        Compared { column: own.clone(), logged: then.to_json(), now: current.to_json(), same }
    };
    columns.map(compare).collect()
}

/// To the last bit; a whole number is the float of its value, as a type may have changed.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a == b,
        #[expect(
            clippy::cast_precision_loss,
            reason = "a whole number that is served as a float is that float"
        )]
        (Value::Int(int), Value::Float(float)) | (Value::Float(float), Value::Int(int)) => {
            *int as f64 == *float
        }
        _ => a == b,
    }
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
