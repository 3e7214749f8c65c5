//! Models: versions, aliases, figures, and who serves them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidemill_catalog::{ModelAlias, ModelMetric, ModelVersionRow};
use tidemill_core::Fault;
use tidemill_online::{Served, measured::VersionStats};
use tidemill_registry::Moved;
use tidemill_spec::{Entity, Model, Objects};
use tokio::time::timeout;

use super::{Answer, items, one};
use crate::{
    Api, entity,
    error::ApiError,
    extract::{Asked, Body},
};

/// How long Redis is waited for.
pub(super) const REPLICAS_MAX: Duration = Duration::from_secs(2);

/// What cures a value of another type than its column's.
const ACCEPTED: &str = "`tidemill explain TM0833` lists what is accepted";

/// `GET /v1/models`: those of the project, then those that it has no more. They answer as long as they have versions.
pub(super) async fn list(State(api): State<Api>) -> Answer {
    let catalog = &api.stores.catalog;
    let (objects, versions, aliases) =
        (catalog.objects().await?, catalog.model_versions(None).await?, catalog.model_aliases(None).await?);
    let others = versions.iter().map(|row| row.version.model.as_str());
    let others: BTreeSet<&str> = others.filter(|name| !objects.models.contains_key(*name)).collect();
    let row = |name: &str, model: Option<&Model>| {
        let champion = aliases.iter().find(|alias| alias.model == name && alias.alias == "champion");
        let own = || versions.iter().filter(|row| row.version.model == name);
        let runtime = model.map(|model| &model.runtime);
        json!({
            "name": name, "declared": model.is_some(),
            "runtime": runtime.or_else(|| Some(&own().next()?.version.runtime)),
            "entity": model.map(|model| &model.entity),
            "owner": model.map(|model| &model.meta.owner),
            "description": model.map(|model| &model.meta.description),
            "tags": model.map(|model| &model.meta.tags),
            "versions": own().count(),
            "champion": champion.map(|alias| alias.version),
        })
    };
    let declared = objects.models.values().map(|model| row(&model.name, Some(model)));
    items(declared.chain(others.into_iter().map(|name| row(name, None))).collect::<Vec<_>>())
}

/// `GET /v1/models/{model}`
pub(super) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let catalog = &api.stores.catalog;
    let objects = catalog.objects().await?;
    let rows = catalog.model_versions(Some(&name)).await?;
    let model = registered(&objects, &rows, &name)?;
    let aliases = catalog.model_aliases(Some(&name)).await?;
    let metrics = catalog.model_metrics(&name).await?;
    let newest = rows.first().map(|row| row.version.clone());
    let stats = stats(&api).await;
    let mut versions = Vec::new();
    for row in rows {
        let mut version = serde_json::to_value(&row)?;
        version["aliases"] = names_of(&aliases, row.version.version).into();
        version["metrics"] = figures_of(&metrics, row.version.version);
        let number = row.version.version.unsigned_abs();
        let fared = stats.iter().find(|stats| stats.model == name && stats.version == number);
        version["latency"] = serde_json::to_value(fared)?;
        versions.push(version);
    }
    let newest = newest.as_ref();
    one(json!({
        "name": name, "declared": model.is_some(),
        "runtime": model.map(|model| &model.runtime).or(newest.map(|version| &version.runtime)),
        "entity": model.map(|model| &model.entity), "owner": model.map(|model| &model.meta.owner),
        "description": model.map(|model| &model.meta.description), "inputs": model.map(|model| &model.inputs),
        "outputs": model.map(|model| &model.outputs).or(newest.map(|version| &version.outputs)),
        "version_list": versions, "rollouts": super::rollouts::of(&api, &name).await?,
        "serving": serving(&api).await["versions"].as_array().into_iter().flatten()
            .filter(|row| row["model"] == name).collect::<Vec<_>>(),
    }))
}

/// What serving processes say of themselves: their addresses, and how each version is in each of them. A Redis that is away
/// is said too: it fails no page.
pub(super) async fn serving(api: &Api) -> Value {
    let replicas = match timeout(REPLICAS_MAX, api.stores.online.replicas()).await {
        Ok(Ok(replicas)) => replicas,
        Ok(Err(error)) => return unknown_serving(Fault::from_error(&error).message),
        Err(_) => {
            return unknown_serving(format!("redis did not answer within {} s", REPLICAS_MAX.as_secs()));
        }
    };
    let mut versions = Vec::new();
    for replica in &replicas {
        for (model, served) in &replica.models {
            for (version, served) in served {
                let aliases = replica.aliases.get(model).into_iter().flatten();
                let aliases: Vec<&String> =
                    aliases.filter(|(_, meant)| *meant == version).map(|(alias, _)| alias).collect();
                let (state, reason) = match served {
                    Served::Ready => ("ready", None),
                    Served::Loading => ("loading", None),
                    Served::Failed(reason) => ("failed", Some(reason)),
                };
                versions.push(json!({
                    "address": replica.address, "model": model, "version": version,
                    "aliases": aliases, "state": state, "reason": reason,
                }));
            }
        }
    }
    let processes: Vec<&String> = replicas.iter().map(|replica| &replica.address).collect();
    json!({ "processes": processes, "versions": versions, "problem": null })
}

/// How versions fared over all serving processes. A Redis that is away fails no page: then nothing is known of it.
async fn stats(api: &Api) -> Vec<VersionStats> {
    let stats = timeout(REPLICAS_MAX, api.stores.online.stats(api.wall().timestamp())).await;
    stats.map(Result::unwrap_or_default).unwrap_or_default()
}

fn unknown_serving(problem: String) -> Value {
    json!({ "processes": [], "versions": [], "problem": problem })
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
    let moved =
        tidemill_registry::promote(&stores.catalog, &stores.online, &name, body.version, &body.alias).await?;
    one(moved_json(&name, &body.alias, &moved))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Alias {
    alias: String,
    /// Takes the alias away, whatever it named before.
    #[serde(default)]
    remove: bool,
}

/// `POST /v1/models/{model}/rollback`: also of a model that the project has no more, which could not be taken out otherwise.
pub(super) async fn rollback(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(body): Body<Alias>,
) -> Answer {
    let stores = &api.stores;
    let versions = stores.catalog.model_versions(Some(&name)).await?;
    registered(&stores.catalog.objects().await?, &versions, &name)?;
    let moved = if body.remove {
        tidemill_registry::remove(&stores.catalog, &stores.online, &name, &body.alias).await?
    } else {
        tidemill_registry::rollback(&stores.catalog, &stores.online, &name, &body.alias).await?
    };
    one(moved_json(&name, &body.alias, &moved))
}

fn moved_json(model: &str, alias: &str, moved: &Moved) -> Value {
    json!({
        "model": model, "version": moved.version, "alias": alias,
        "serving": moved.serving, "waiting": moved.waiting,
    })
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
    let entity = entity_of(&objects, &name)?;
    let given: Value = serde_json::from_str(&query.entity)
        .map_err(|error| ApiError::invalid(Fault::coded(116, format!("the entity is not JSON: {error}"))))?;
    one(entity::named(entity, &entity::keys(entity, &given)?))
}

#[derive(Deserialize)]
pub(super) struct RequestOf {
    /// JSON: an object of texts by column.
    request: String,
}

/// `GET /v1/models/{model}/request`: request columns by name, typed as the model declares them. A column that it doesn't
/// declare stays text: whoever predicts says so.
pub(super) async fn request(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked(query): Asked<RequestOf>,
) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    let model = known(&objects, &name)?;
    let malformed =
        |error| ApiError::invalid(Fault::coded(116, format!("the request columns are not texts: {error}")));
    let given: BTreeMap<String, String> = serde_json::from_str(&query.request).map_err(malformed)?;
    let typed = given.into_iter().map(|(column, text)| {
        let Some(ty) = model.request.get(&column) else { return Ok((column, Value::from(text))) };
        let value = tidemill_spec::Value::parse(&text, *ty).map_err(|error| {
            ApiError::invalid(Fault::coded(833, format!("`{column}`: {error}")).hint(ACCEPTED))
        })?;
        Ok((column, value.to_json()))
    });
    one(typed.collect::<Result<Map<_, _>, ApiError>>()?)
}

/// The model as it is declared; none where the project has it no more, but versions of it are there.
fn registered<'o>(
    objects: &'o Objects,
    versions: &[ModelVersionRow],
    name: &str,
) -> Result<Option<&'o Model>, ApiError> {
    match objects.models.get(name) {
        None if !versions.is_empty() => Ok(None),
        _ => known(objects, name).map(Some),
    }
}

/// The entity of a model that is declared.
pub(super) fn entity_of<'o>(objects: &'o Objects, name: &str) -> Result<&'o Entity, ApiError> {
    let model = known(objects, name)?;
    let missing = || ApiError::unknown(301, "entity", &model.entity, objects.entities.keys());
    objects.entities.get(&model.entity).ok_or_else(missing)
}

pub(super) fn known<'o>(objects: &'o Objects, name: &str) -> Result<&'o Model, ApiError> {
    objects.models.get(name).ok_or_else(|| ApiError::unknown(801, "model", name, objects.models.keys()))
}
