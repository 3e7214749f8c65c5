//! Who was told what: rows of the log, newest first, and one of them by its id.

use std::{collections::BTreeMap, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use tidemill_catalog::{Catalog, ModelVersion};
use tidemill_core::{PredictionId, Time};
use tidemill_offline::{Filter, Lake, Order, Read, Table};
use tidemill_rows::{
    CREATED_AT, Row, VALID_AT,
    prediction_log::{ASKED_AS, CODE, Columns, DEFAULTED, ID, LATENCY_US, MASKED, REQUEST, VERSION, VIEWS},
    rows_of,
};
use tidemill_spec::Value;

use crate::Error;

/// How long before its id was made, by another look at the clock, a prediction may have been answered.
const BEFORE_ID: Duration = Duration::from_mins(1);
/// How long after: no request takes so long.
const AFTER_ID: Duration = Duration::from_hours(1);

/// Which predictions of a model.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Keys of the entity; none: of all.
    pub key: Vec<(String, Value)>,
    /// Answered from this instant on, real time.
    pub since: Option<Time>,
    /// Answered by this version.
    pub version: Option<u32>,
    /// Only those that failed.
    pub errors: bool,
    /// The newest, so many at most.
    pub limit: u32,
}

/// A prediction of the log.
#[derive(Clone, Debug)]
pub struct Found {
    /// The model.
    pub model: String,
    /// Its row.
    pub row: RecordBatch,
}

/// A prediction as people and programs read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Logged {
    /// Its id.
    pub id: Json,
    /// The request's id.
    pub request: Json,
    /// The model.
    pub model: String,
    /// The version; null where none could take the request.
    pub version: Json,
    /// The alias that was asked for, or the version's number.
    pub asked_as: Json,
    /// What the data clock showed.
    pub at: Json,
    /// When it was answered, real time.
    pub answered_at: Json,
    /// From request to reply.
    pub latency_ms: Option<f64>,
    /// The code of the error; null where there is an answer.
    pub code: Json,
    /// Key columns.
    pub entity: Map<String, Json>,
    /// Outputs, as columns of tables.
    pub outputs: Map<String, Json>,
    /// The rest of what the model saw, and what the caller gave.
    pub features: Map<String, Json>,
    /// Views that were read, with the status of their values.
    pub views: Json,
    /// Columns that no value was found for.
    pub defaulted: Json,
    /// Columns that are null because the log masks them.
    pub masked: Json,
}

/// Rows of a model's log as people and programs read them, in their order.
///
/// # Errors
/// Postgres can't be reached.
pub async fn told(catalog: &Catalog, model: &str, rows: &RecordBatch) -> Result<Vec<Logged>, Error> {
    let versions = catalog.model_versions(Some(model)).await?;
    let newest = versions.first().map(|row| row.version.clone());
    let by_number: BTreeMap<i64, ModelVersion> =
        versions.into_iter().map(|row| (i64::from(row.version.version), row.version)).collect();
    let logged = |row: Row| {
        let number = match row.get(VERSION) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        };
        // Of a request that no version took, the newest one says what its keys are.
        let version = number.map_or(newest.as_ref(), |number| by_number.get(&number));
        logged(model, &row, version)
    };
    Ok(rows_of(rows)?.into_iter().map(logged).collect())
}

fn logged(model: &str, row: &Row, version: Option<&ModelVersion>) -> Logged {
    let json = |name: &str| row.get(name).map_or(Json::Null, Value::to_json);
    let columns = version.map(|version| {
        Columns::of_version(&version.keys, &version.hydration, &version.request, &version.outputs)
    });
    let columns = columns.unwrap_or_default();
    let is_key = |name: &String| version.is_some_and(|version| version.keys.contains_key(name));
    let names = columns.row.keys();
    let (keys, features): (Vec<&String>, Vec<&String>) = names.partition(|name| is_key(name));
    let of = |names: Vec<&String>| names.into_iter().map(|name| (name.clone(), json(name))).collect();
    let views = match row.get(VIEWS) {
        Some(Value::String(views)) => serde_json::from_str(views).unwrap_or(Json::Null),
        _ => Json::Null,
    };
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a request")]
    let latency_ms = match row.get(LATENCY_US) {
        Some(Value::Int(micros)) => Some(*micros as f64 / 1_000.0),
        _ => None,
    };
    let answered = json(CODE).is_null();
    let outputs = columns.outputs.iter().filter(|_| answered);
    Logged {
        id: json(ID),
        request: json(REQUEST),
        model: model.to_owned(),
        version: json(VERSION),
        asked_as: json(ASKED_AS),
        at: json(VALID_AT),
        answered_at: json(CREATED_AT),
        latency_ms,
        code: json(CODE),
        entity: of(keys),
        outputs: outputs.map(|(own, (name, _))| (own.clone(), json(name))).collect(),
        features: of(features),
        views,
        defaulted: json(DEFAULTED),
        masked: json(MASKED),
    }
}

/// Rows of a model's log in the order in which they were answered; a batch without columns where nothing was ever logged.
///
/// # Errors
/// The lake can't be read.
pub async fn list(lake: &Lake, model: &str, wanted: &Wanted) -> Result<RecordBatch, Error> {
    let mut equal = wanted.key.clone();
    equal.extend(wanted.version.map(|version| (VERSION.to_owned(), Value::Int(version.into()))));
    let between = wanted.since.map(|since| (CREATED_AT.to_owned(), since, Time::MAX_UTC));
    let present = if wanted.errors { vec![CODE.to_owned()] } else { Vec::new() };
    let filter = Filter { between, equal, present, last: Some(wanted.limit), order: Order::Accepted };
    rows(lake, model, filter, None).await
}

/// A prediction in the logs of some models.
///
/// # Errors
/// The lake can't be read.
pub async fn find(lake: &Lake, models: &[String], id: PredictionId) -> Result<Option<Found>, Error> {
    for model in models {
        let row = one(lake, model, id, None).await?;
        if row.num_rows() > 0 {
            return Ok(Some(Found { model: model.clone(), row: row.slice(0, 1) }));
        }
    }
    Ok(None)
}

/// The models that have a log, by name.
///
/// # Errors
/// Postgres can't be reached.
pub async fn models(lake: &Lake) -> Result<Vec<String>, Error> {
    let tables = lake.tables().await?;
    let model = |table: &Table| table.as_str().strip_prefix("prediction_log/").map(str::to_owned);
    Ok(tables.iter().filter_map(model).collect())
}

/// The row of a prediction, in the columns of `schema` if there is one; without rows where the log doesn't have it.
pub(super) async fn one(
    lake: &Lake,
    model: &str,
    id: PredictionId,
    schema: Option<SchemaRef>,
) -> Result<RecordBatch, Error> {
    let equal = vec![(ID.to_owned(), Value::String(id.to_string()))];
    // An id says when it was made: only files of that time are read.
    let between = id.made_at().map(|made| (CREATED_AT.to_owned(), made - BEFORE_ID, made + AFTER_ID));
    rows(lake, model, Filter { between, equal, ..Filter::default() }, schema).await
}

async fn rows(
    lake: &Lake,
    model: &str,
    filter: Filter,
    schema: Option<SchemaRef>,
) -> Result<RecordBatch, Error> {
    let read = Read::all(Table::prediction_log(model), lake.head().await?);
    Ok(lake.read(&Read { filter, schema, ..read }).await?)
}
