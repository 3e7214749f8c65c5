//! What takes rows away. Each says what it will touch, and with `?dry_run=true` does nothing else.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_removal::{dropping, erase_scope, erasure, source_scope, truncation};
use tidemill_store::NewJob;

use super::{Answer, one};
use crate::{
    Api, entity,
    error::ApiError,
    extract::{Asked, Body},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    /// Only say what it would touch.
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// `POST /v1/sources/{source}/truncate`
pub(super) async fn truncate(
    State(api): State<Api>,
    Path(source): Path<String>,
    Asked(asked): Asked<Removal>,
) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    if !objects.sources.contains_key(&source) {
        return Err(ApiError::unknown(502, "source", &source, objects.sources.keys()));
    }
    let scope = serde_json::to_value(source_scope(&deps(&api), &source).await?)?;
    answer(&api, scope, &asked, truncation(&source)).await
}

/// `POST /v1/sources/{source}/drop`: of a source that is no longer declared.
pub(super) async fn drop(
    State(api): State<Api>,
    Path(source): Path<String>,
    Asked(asked): Asked<Removal>,
) -> Answer {
    let deps = deps(&api);
    let dropping = dropping(&deps, &source).await?;
    let scope = source_scope(&deps, &source).await?;
    if scope.is_nothing() {
        let objects = api.stores.catalog.objects().await?;
        return Err(ApiError::unknown(502, "source", &source, objects.sources.keys()));
    }
    answer(&api, serde_json::to_value(scope)?, &asked, dropping).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entity {
    key: Value,
}

/// `POST /v1/entities/{entity}/erase`
pub(super) async fn erase(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked(asked): Asked<Removal>,
    Body(Entity { key }): Body<Entity>,
) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    let declared = objects.entities.get(&name);
    let declared =
        declared.ok_or_else(|| ApiError::unknown(509, "entity", &name, objects.entities.keys()))?;
    let key = entity::named(declared, &entity::keys(declared, &key)?);
    let key = key.as_object().cloned().unwrap_or_default();
    let scope = serde_json::to_value(erase_scope(&deps(&api), &name, &key).await?)?;
    answer(&api, scope, &asked, erasure(&name, &key)).await
}

fn deps(api: &Api) -> tidemill_removal::Deps {
    let tidemill_stores::Stores { catalog, lake, blobs, .. } = api.stores.clone();
    tidemill_removal::Deps { catalog, lake, blobs }
}

/// What will be touched, and the run that does it unless nothing shall be done.
pub(super) async fn answer(api: &Api, mut scope: Value, asked: &Removal, job: NewJob) -> Answer {
    scope["dry_run"] = asked.dry_run.into();
    if !asked.dry_run {
        let store = &api.stores.store;
        let mut tx = store.begin().await?;
        let enqueued = store.enqueue(&mut tx, job).await?;
        tx.commit().await?;
        store.wake().await;
        scope["run_id"] = json!(enqueued.run);
    }
    one(scope)
}
