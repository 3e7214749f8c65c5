//! Models: versions, aliases, figures.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidemill_catalog::{ModelAlias, ModelMetric};
use tidemill_core::Fault;
use tidemill_spec::{Model, Objects};

use super::{Answer, items, one};
use crate::{
    Api, entity,
    error::ApiError,
    extract::{Asked, Body},
};

/// `GET /v1/models`
pub(super) async fn list(State(api): State<Api>) -> Answer {
    let catalog = &api.stores.catalog;
    let (objects, versions, aliases) =
        (catalog.objects().await?, catalog.model_versions(None).await?, catalog.model_aliases(None).await?);
    let row = |model: &Model| {
        let champion = aliases.iter().find(|alias| alias.model == model.name && alias.alias == "champion");
        json!({
            "name": model.name, "runtime": model.runtime, "entity": model.entity,
            "owner": model.meta.owner, "description": model.meta.description, "tags": model.meta.tags,
            "versions": versions.iter().filter(|row| row.version.model == model.name).count(),
            "champion": champion.map(|alias| alias.version),
        })
    };
    items(objects.models.values().map(row).collect::<Vec<_>>())
}

/// `GET /v1/models/{model}`
pub(super) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let catalog = &api.stores.catalog;
    let objects = catalog.objects().await?;
    let model = known(&objects, &name)?;
    let aliases = catalog.model_aliases(Some(&name)).await?;
    let metrics = catalog.model_metrics(&name).await?;
    let mut versions = Vec::new();
    for row in catalog.model_versions(Some(&name)).await? {
        let mut version = serde_json::to_value(&row)?;
        version["aliases"] = names_of(&aliases, row.version.version).into();
        version["metrics"] = figures_of(&metrics, row.version.version);
        versions.push(version);
    }
    one(json!({
        "name": model.name, "runtime": model.runtime, "entity": model.entity, "owner": model.meta.owner,
        "description": model.meta.description, "inputs": model.inputs, "outputs": model.outputs,
        "version_list": versions,
    }))
}

fn names_of(aliases: &[ModelAlias], version: i32) -> Vec<String> {
    aliases.iter().filter(|alias| alias.version == version).map(|alias| alias.alias.clone()).collect()
}

/// `{subject: {metric: value}}`
fn figures_of(metrics: &[ModelMetric], version: i32) -> Value {
    let mut figures: Map<String, Value> = Map::new();
    for metric in metrics.iter().filter(|metric| metric.version == version) {
        let subject = figures.entry(metric.subject.clone()).or_insert_with(|| json!({}));
        subject[&metric.metric] = json!(metric.value);
    }
    figures.into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Promote {
    version: i32,
    alias: String,
}

/// `POST /v1/models/{model}/promote`
pub(super) async fn promote(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(body): Body<Promote>,
) -> Answer {
    known(&api.stores.catalog.objects().await?, &name)?;
    let stores = &api.stores;
    tidemill_registry::promote(&stores.catalog, &stores.online, &name, body.version, &body.alias).await?;
    one(json!({ "model": name, "version": body.version, "alias": body.alias }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alias {
    alias: String,
}

/// `POST /v1/models/{model}/rollback`
pub(super) async fn rollback(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(body): Body<Alias>,
) -> Answer {
    known(&api.stores.catalog.objects().await?, &name)?;
    let stores = &api.stores;
    let version = tidemill_registry::rollback(&stores.catalog, &stores.online, &name, &body.alias).await?;
    one(json!({ "model": name, "version": version, "alias": body.alias }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntityOf {
    /// JSON: an object of keys, or all values in one text.
    entity: String,
}

/// `GET /v1/models/{model}/entity`: keys by name, typed as the model's entity declares them.
pub(super) async fn entity(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked(query): Asked<EntityOf>,
) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    let model = known(&objects, &name)?;
    let missing = || ApiError::unknown(301, "entity", &model.entity, objects.entities.keys());
    let entity = objects.entities.get(&model.entity).ok_or_else(missing)?;
    let given: Value = serde_json::from_str(&query.entity)
        .map_err(|error| ApiError::invalid(Fault::coded(116, format!("the entity is not JSON: {error}"))))?;
    one(entity::named(entity, &entity::keys(entity, &given)?))
}

fn known<'o>(objects: &'o Objects, name: &str) -> Result<&'o Model, ApiError> {
    objects.models.get(name).ok_or_else(|| ApiError::unknown(801, "model", name, objects.models.keys()))
}
