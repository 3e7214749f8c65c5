//! Training sets: those that runs registered, and joins for notebooks.

use axum::{
    body::Bytes,
    extract::{Path, Query, State},
    http::HeaderValue,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_catalog::DatasetRow;
use tidemill_core::{DatasetId, Fault};
use tidemill_spec::{
    steps::{DatasetInputs, KnownAt},
    value::parse_time,
};
use tidemill_training::{FromLabels, build_from_labels};

use super::{Answer, items, one};
use crate::{Api, error::ApiError};

const LIST_MAX: u32 = 100;

/// `GET /v1/datasets`
pub(super) async fn list(State(api): State<Api>) -> Answer {
    let rows = api.stores.catalog.datasets(LIST_MAX).await?;
    items(rows.iter().map(row).collect::<Result<Vec<_>, _>>()?)
}

/// `GET /v1/datasets/{dataset}`
pub(super) async fn show(State(api): State<Api>, Path(dataset): Path<String>) -> Answer {
    let id: DatasetId = dataset.parse().map_err(|error: tidemill_core::ids::InvalidId| {
        ApiError::invalid(Fault::coded(806, error.to_string()).hint("tidemill datasets list"))
    })?;
    let found = api.stores.catalog.dataset(id).await?;
    one(found.ok_or_else(|| ApiError::not_found(Fault::coded(806, format!("there is no dataset {id}"))))?)
}

/// The dataset with its parts' figures beside its own.
fn row(row: &DatasetRow) -> Result<Value, ApiError> {
    let mut shown = serde_json::to_value(row)?;
    shown["rows"] = json!(row.dataset.train.rows);
    shown["holdout_rows"] = json!(row.dataset.holdout.as_ref().map(|part| part.rows));
    shown["label_rate"] = json!(row.dataset.train.label_rate);
    Ok(shown)
}

#[derive(Deserialize)]
pub(super) struct Build {
    /// Of the body: `parquet`, `csv` or `jsonl`.
    format: String,
    /// A model, or views, separated by commas.
    inputs: String,
    /// `label`, or an instant.
    known_at: Option<String>,
    /// Of the answer: `parquet` or `jsonl`.
    out: Option<String>,
}

/// `POST /v1/datasets/build`: the body's rows with features as of each row's `label_ts`. The report is a header.
pub(super) async fn build(
    State(api): State<Api>,
    Query(query): Query<Build>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(format!("labels.{}", extension(&query.format)?));
    std::fs::write(&file, &body)?;
    let inputs = inputs(&api, &query.inputs).await?;
    let known_at = query.known_at.as_deref().map(known_at).transpose()?;
    let deps = tidemill_training::Deps {
        catalog: api.stores.catalog.clone(),
        lake: api.stores.lake.clone(),
        blobs: api.stores.blobs.clone(),
    };
    let built = build_from_labels(&deps, &file, &inputs, known_at).await?;
    let mut answer = match query.out.as_deref() {
        Some("jsonl") => jsonl(&built)?.into_response(),
        _ => {
            tidemill_rows::parquet::write(&built.rows).map_err(tidemill_offline::Error::from)?.into_response()
        }
    };
    let report = json!({
        "rows": built.rows.num_rows(), "lake_version": built.lake_version, "view_versions": built.view_versions,
        "leak_allowed": built.leak_allowed, "changed_under_known_at": built.changed_under_known_at,
    });
    let header = HeaderValue::from_str(&report.to_string());
    answer.headers_mut().insert("tidemill-report", header.unwrap_or_else(|_| HeaderValue::from_static("{}")));
    Ok(answer)
}

fn extension(format: &str) -> Result<&str, ApiError> {
    match format {
        "parquet" | "csv" | "jsonl" => Ok(format),
        other => Err(ApiError::invalid(
            Fault::coded(101, format!("`{other}` is not a format of label rows"))
                .hint("name the file .parquet, .csv or .jsonl"),
        )),
    }
}

async fn inputs(api: &Api, given: &str) -> Result<DatasetInputs, ApiError> {
    let names: Vec<String> = given.split(',').map(|name| name.trim().to_owned()).collect();
    let objects = api.stores.catalog.objects().await?;
    Ok(match names.as_slice() {
        [model] if objects.models.contains_key(model) => DatasetInputs::Model(model.clone()),
        _ => DatasetInputs::Views(names),
    })
}

fn known_at(text: &str) -> Result<KnownAt, ApiError> {
    if text == "label" {
        return Ok(KnownAt::Label);
    }
    parse_time(text).map(KnownAt::Time).ok_or_else(|| {
        ApiError::invalid(
            Fault::coded(401, format!("`{text}` is not an instant"))
                .hint("write `label` or 2013-06-01T00:00:00-04:00"),
        )
    })
}

fn jsonl(built: &FromLabels) -> Result<String, ApiError> {
    let rows = tidemill_rows::json_rows(&built.rows).map_err(tidemill_offline::Error::from)?;
    Ok(rows.into_iter().map(|row| Value::from(row).to_string() + "\n").collect())
}
