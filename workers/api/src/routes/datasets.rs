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
use tidemill_training::{FileFormat, FromLabels, LabelRows, build_from_labels};

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
