//! The prediction log: what serving answered, and one answer again.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_core::{Fault, PredictionId};
use tidemill_registry::log::{Found, Logged, Wanted, find, list as logged, models, replay_new, told};
use tidemill_spec::value::parse_time;

use super::{Answer, items, models::entity_of, one, runs::before};
use crate::{
    Api, entity,
    error::ApiError,
    extract::{Asked, limit},
};

/// Which predictions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    model: String,
    /// JSON: an object of keys, or all values in one text.
    entity: Option<String>,
    /// An instant, or a length of time before now; real time.
    since: Option<String>,
    version: Option<u32>,
    /// Only those that failed.
    #[serde(default)]
    errors: bool,
    limit: Option<u32>,
}

/// `GET /v1/predictions`, newest first.
pub(super) async fn list(State(api): State<Api>, Asked(query): Asked<List>) -> Answer {
    let (catalog, lake) = (&api.stores.catalog, &api.stores.lake);
    let key = match &query.entity {
        None => Vec::new(),
        Some(text) => {
            let objects = catalog.objects().await?;
            let entity = entity_of(&objects, &query.model)?;
            let given: Value = serde_json::from_str(text).map_err(|error| {
                ApiError::invalid(Fault::coded(116, format!("the entity is not JSON: {error}")))
            })?;
            let keys = entity::keys(entity, &given)?;
            entity.keys.keys().cloned().zip(keys).collect()
        }
    };
    let since = query.since.as_deref();
    let since =
        since.map(|text| parse_time(text).map_or_else(|| before(api.wall(), text), Ok)).transpose()?;
    let wanted =
        Wanted { key, since, version: query.version, errors: query.errors, limit: limit(query.limit)? };
    check_model(&api, &query.model).await?;
    let rows = logged(lake, &query.model, &wanted).await?;
    let mut rows = told(catalog, &query.model, &rows).await?;
    rows.reverse();
    items(rows)
}

/// `GET /v1/predictions/{prediction}`
pub(super) async fn show(State(api): State<Api>, Path(prediction): Path<String>) -> Answer {
    one(found(&api, id(&prediction)?).await?)
}

/// `POST /v1/predictions/{prediction}/replay`: the outputs of the run say what came of it.
pub(super) async fn replay(State(api): State<Api>, Path(prediction): Path<String>) -> Answer {
    let id = id(&prediction)?;
    found(&api, id).await?;
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    let started = store.enqueue(&mut tx, replay_new(id)).await?;
    tx.commit().await?;
    store.wake().await;
    one(json!({ "run_id": started.run }))
}

/// A prediction in whatever log it is.
async fn found(api: &Api, id: PredictionId) -> Result<Logged, ApiError> {
    let known = models(&api.stores.lake).await?;
    let missing =
        || ApiError::not_found(tidemill_registry::Error::NotLogged { prediction: id.to_string() }.fault());
    let Found { model, row } = find(&api.stores.lake, &known, id).await?.ok_or_else(missing)?;
    let told = told(&api.stores.catalog, &model, &row).await?;
    told.into_iter().next().ok_or_else(missing)
}

/// A model that is declared, or was once and has a log.
async fn check_model(api: &Api, name: &str) -> Result<(), ApiError> {
    let objects = api.stores.catalog.objects().await?;
    if objects.models.contains_key(name) || models(&api.stores.lake).await?.iter().any(|model| model == name)
    {
        return Ok(());
    }
    Err(ApiError::unknown(801, "model", name, objects.models.keys()))
}

fn id(text: &str) -> Result<PredictionId, ApiError> {
    text.parse().map_err(|error: tidemill_core::ids::InvalidId| {
        let hint = "the reply of a prediction has its id: prd_…";
        ApiError::invalid(Fault::coded(880, error.to_string()).hint(hint))
    })
}
