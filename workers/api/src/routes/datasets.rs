//! Training sets: those that runs registered, and joins for notebooks.

use axum::{
    body::Body,
    extract::{Path, State},
    http::HeaderValue,
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_catalog::DatasetRow;
use tidemill_core::{DatasetId, Fault};
use tidemill_spec::steps::DatasetInputs;
use tidemill_training::{FileLabel, FromLabels, build_from_labels};
use tokio::io::AsyncWriteExt as _;

use super::{Answer, items, one};
use crate::{
    Api, door,
    error::ApiError,
    extract::{Asked, known_at},
};

const LIST_MAX: u32 = 100;

/// `GET /v1/datasets`
pub(super) async fn list(State(api): State<Api>) -> Answer {
    let rows = api.stores.catalog.datasets(LIST_MAX).await?;
    items(rows.iter().map(row).collect::<Result<Vec<_>, _>>()?)
}

/// `GET /v1/datasets/{dataset}`
pub(super) async fn show(State(api): State<Api>, Path(dataset): Path<String>) -> Answer {
    let id: DatasetId = dataset.parse().map_err(|error: tidemill_core::ids::InvalidId| {
        ApiError::invalid(Fault::coded(114, error.to_string()).hint("tidemill datasets list"))
    })?;
    let found = api.stores.catalog.dataset_row(id).await?;
    let missing = || Fault::coded(114, format!("there is no dataset {id}")).hint("tidemill datasets list");
    one(row(&found.ok_or_else(|| ApiError::not_found(missing()))?)?)
}

/// The dataset with its parts' figures beside its own.
fn row(listed: &DatasetRow) -> Result<Value, ApiError> {
    let dataset = &listed.dataset;
    let mut shown = serde_json::to_value(listed)?;
    shown["rows"] = json!(dataset.train.rows);
    shown["holdout_rows"] = json!(dataset.holdout.as_ref().map(|part| part.rows));
    shown["label_rate"] = json!(dataset.train.label_rate);
    shown["classes"] = json!(dataset.train.classes);
    Ok(shown)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Build {
    /// Of the body: `parquet`, `csv` or `jsonl`.
    format: String,
    /// A model, or views, separated by commas.
    inputs: String,
    /// `label`, or an instant.
    known_at: Option<String>,
    /// A label over windows to compute for each row.
    label: Option<String>,
    /// Of the answer: the same three; default: `parquet`.
    out: Option<String>,
}

/// `POST /v1/datasets/build`: the body's rows with features as of each row's `label_ts`. The report is a header.
pub(super) async fn build(
    State(api): State<Api>,
    Asked(query): Asked<Build>,
    body: Body,
) -> Result<Response, ApiError> {
    let folder = tempfile::tempdir()?;
    let (format, out) = (extension(&query.format)?, query.out.as_deref().map(extension).transpose()?);
    let file = folder.path().join(format!("labels.{format}"));
    keep(body, &file, door::LABELS_BYTES_MAX).await?;
    let inputs = inputs(&api, &query.inputs).await?;
    let known_at = query.known_at.as_deref().map(known_at).transpose()?;
    let deps = tidemill_training::Deps {
        catalog: api.stores.catalog.clone(),
        lake: api.stores.lake.clone(),
        blobs: api.stores.blobs.clone(),
    };
    let clock = api.stores.store.data_clock().await?.at(api.wall());
    let label = query.label.as_deref().map(|name| FileLabel { name, clock });
    let built = build_from_labels(&deps, &file, &inputs, known_at, label).await?;
    let answer = match out {
        Some("jsonl") => jsonl(&built)?.into_response(),
        Some("csv") => {
            tidemill_rows::csv::write(&built.rows).map_err(tidemill_offline::Error::from)?.into_response()
        }
        _ => {
            tidemill_rows::parquet::write(&built.rows).map_err(tidemill_offline::Error::from)?.into_response()
        }
    };
    let coverage = built.answers.as_ref().map(|answers| {
        json!({ "asked": built.rows.num_rows(), "matured": answers.matured, "left_out": answers.left_out })
    });
    let classes = built.answers.as_ref().map(|answers| &answers.classes);
    let report = json!({
        "rows": built.rows.num_rows(), "lake_version": built.lake_version, "view_versions": built.view_versions,
        "leak_allowed": built.leak_allowed, "changed_under_known_at": built.changed_under_known_at,
        "warnings": built.warnings, "naive_timestamps": built.naive_timestamps,
        "coverage": coverage, "classes": classes,
    });
    Ok(reported(answer, &report))
}

/// An answer of bytes with a report in a header.
pub(super) fn reported(mut answer: Response, report: &Value) -> Response {
    let header = HeaderValue::from_str(&ascii(report));
    answer.headers_mut().insert("tidemill-report", header.unwrap_or_else(|_| HeaderValue::from_static("{}")));
    answer
}

/// Writes a body to a file as it comes.
pub(super) async fn keep(body: Body, file: &std::path::Path, most: usize) -> Result<(), ApiError> {
    let (mut file, mut size) = (tokio::fs::File::create(file).await?, 0);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| door::cut_off(&error, most))?;
        size += chunk.len();
        if size > most {
            return Err(door::too_large(most));
        }
        file.write_all(&chunk).await?;
    }
    Ok(file.flush().await?)
}

/// JSON that a header may hold, whatever the names in it are written in.
fn ascii(json: &Value) -> String {
    let escaped = |letter: char| {
        let mut units = [0; 2];
        let units = letter.encode_utf16(&mut units);
        units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
    };
    let letters = json.to_string();
    letters
        .chars()
        .map(|letter| if letter.is_ascii() { letter.to_string() } else { escaped(letter) })
        .collect()
}

/// How a file that is written row by row is named.
pub(super) fn writer_format(format: &str) -> Result<tidemill_rows::out::Format, ApiError> {
    match format {
        "parquet" => Ok(tidemill_rows::out::Format::Parquet),
        "csv" => Ok(tidemill_rows::out::Format::Csv),
        other => Err(ApiError::invalid(
            Fault::coded(608, format!("`{other}` is not a format that rows are written in"))
                .hint("name the file .parquet or .csv"),
        )),
    }
}

fn extension(format: &str) -> Result<&'static str, ApiError> {
    match format {
        "parquet" => Ok("parquet"),
        "csv" => Ok("csv"),
        "jsonl" => Ok("jsonl"),
        other => Err(ApiError::invalid(
            Fault::coded(608, format!("`{other}` is not a format of rows"))
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

fn jsonl(built: &FromLabels) -> Result<String, ApiError> {
    let rows = tidemill_rows::json_rows(&built.rows).map_err(tidemill_offline::Error::from)?;
    Ok(rows.into_iter().map(|row| Value::from(row).to_string() + "\n").collect())
}
