//! Feature views and their values.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidemill_core::Fault;
use tidemill_features::{GetRequest, Recomputed, recompute_new, recompute_scope};
use tidemill_offline::{KnownAt, Table};
use tidemill_spec::{Entity, FeatureView, Objects};

use super::{
    Answer, items, one,
    removal::{Removal, answer},
};
use crate::{
    Api, entity,
    error::ApiError,
    extract::{Asked, Body, instant, limit},
};

/// Dead letters on a view's page.
const LETTERS: u32 = 10;

/// A row for each view in force.
pub(super) async fn rows(api: &Api) -> Result<Vec<Value>, ApiError> {
    let objects = api.stores.catalog.objects().await?;
    let head = api.stores.lake.head().await?;
    let mut rows = Vec::new();
    for fresh in tidemill_features::freshness(&api.features).await? {
        let Some(view) = objects.views.get(&fresh.view) else { continue };
        let files = api.stores.lake.files(&Table::view(&fresh.view, fresh.version), head).await?;
        let mut row = serde_json::to_value(&fresh)?;
        row["entity"] = view.entity.clone().into();
        row["kind"] = serde_json::to_value(view.kind())?;
        // A view that holds nothing has no rows to count.
        let stored = view.kind().stored();
        row["offline_rows"] = stored.then(|| files.iter().map(|file| file.rows).sum::<i64>()).into();
        row["owner"] = view.meta.owner.clone().into();
        row["description"] = view.meta.description.clone().into();
        rows.push(row);
    }
    Ok(rows)
}

/// `GET /v1/features`
pub(super) async fn list(State(api): State<Api>) -> Answer {
    let mut rows = rows(&api).await?;
    for row in &mut rows {
        if row["offline_rows"].is_null() {
            row["online_entities"] = Value::Null;
        } else if row["online"] == true {
            let version =
                row["version"].as_u64().and_then(|version| u32::try_from(version).ok()).unwrap_or(0);
            let view = row["view"].as_str().unwrap_or_default();
            row["online_entities"] = api.stores.online.count(view, version).await?.into();
        } else {
            row["online_entities"] = 0.into();
        }
    }
    items(rows)
}

/// `GET /v1/features/{view}`
pub(super) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    known(&objects, &name)?;
    let mut page =
        rows(&api).await?.into_iter().find(|row| row["view"] == name.as_str()).unwrap_or_else(|| json!({}));
    page["definition"] = serde_json::to_value(&objects.views[&name])?;
    let letters = tidemill_features::dead_letters(&api.features, &name, LETTERS).await?;
    page["dead_letters"] = letters.count.into();
    page["dead_letter_list"] = serde_json::to_value(letters.newest)?;
    page["versions"] = serde_json::to_value(api.stores.catalog.view_versions(Some(&name)).await?)?;
    one(page)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Get {
    #[serde(default)]
    views: Vec<String>,
    entity: Value,
    at: Option<String>,
    known_at: Option<String>,
}

/// `POST /v1/features/get`
pub(super) async fn get(State(api): State<Api>, Body(body): Body<Get>) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    let views = if body.views.is_empty() { views_of(&objects, &body.entity)? } else { body.views };
    let first = views.first().map(|view| view.split(':').next().unwrap_or(view)).unwrap_or_default();
    let entity = entity_of(&objects, known(&objects, first)?)?;
    let keys = entity::named(entity, &entity::keys(entity, &body.entity)?);
    let at = body.at.as_deref().map(instant).transpose()?;
    let known_at = match body.known_at.as_deref() {
        None => KnownAt::Any,
        Some("label") => KnownAt::Label,
        Some(text) => KnownAt::Time(instant(text)?),
    };
    let request = GetRequest {
        entities: vec![keys.as_object().cloned().unwrap_or_default()],
        features: views,
        at,
        known_at,
    };
    let got = tidemill_features::get(&api.features, &request).await?.pop().unwrap_or_default();
    one(json!({ "entity": keys, "views": got }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    entity: Value,
    limit: Option<u32>,
}

/// `POST /v1/features/{view}/history`
pub(super) async fn history(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(body): Body<History>,
) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    let entity = entity_of(&objects, known(&objects, &name)?)?;
    let keys = entity::named(entity, &entity::keys(entity, &body.entity)?);
    let keys: Map<String, Value> = keys.as_object().cloned().unwrap_or_default();
    items(tidemill_features::history(&api.features, &name, &keys, limit(body.limit)?).await?)
}

/// `POST /v1/features/{view}/parity`
pub(super) async fn parity(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    known(&api.stores.catalog.objects().await?, &name)?;
    one(tidemill_features::parity(&api.features, &name).await?)
}

/// `POST /v1/features/{view}/backfill`
pub(super) async fn backfill(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    stored(&api.stores.catalog.objects().await?, &name)?;
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    let enqueued = store.enqueue(&mut tx, tidemill_features::backfill_new(&name)).await?;
    tx.commit().await?;
    store.wake().await;
    one(json!({ "run_id": enqueued.run }))
}

/// Which rows: of a range of moments, `to` being now unless it is given, or those of which dead letters are kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recompute {
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    dead_letters: bool,
}

/// `POST /v1/features/{view}/recompute`: computes rows again where they are. With `?dry_run=true` it only says which.
pub(super) async fn recompute(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked(asked): Asked<Removal>,
    Body(Recompute { from, to, dead_letters }): Body<Recompute>,
) -> Answer {
    stored(&api.stores.catalog.objects().await?, &name)?;
    let rows = match (from, dead_letters) {
        (Some(from), false) => {
            let to = match to {
                Some(to) => instant(&to)?,
                None => api.now().await?,
            };
            Recomputed::Between(instant(&from)?, to)
        }
        (None, true) if to.is_none() => Recomputed::DeadLetters,
        _ => {
            let fault = Fault::coded(116, "the request can't be read: it does not say which rows");
            return Err(ApiError::malformed(
                fault.hint("give `from`, with or without `to`, or `dead_letters: true`"),
            ));
        }
    };
    let scope = serde_json::to_value(recompute_scope(&api.features, &name, rows).await?)?;
    answer(&api, scope, &asked, recompute_new(&name, rows)).await
}

/// `POST /v1/features/{view}/rebuild-online`
pub(super) async fn rebuild_online(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    stored(&api.stores.catalog.objects().await?, &name)?;
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    let enqueued = store.enqueue(&mut tx, tidemill_features::rebuild_new(&name)).await?;
    tx.commit().await?;
    store.wake().await;
    one(json!({ "run_id": enqueued.run }))
}

/// Views whose entity has just these keys.
fn views_of(objects: &Objects, given: &Value) -> Result<Vec<String>, ApiError> {
    let mut refused = None;
    // Keys given as one text may fit entities that differ: the first one's views are meant.
    for entity in objects.entities.values() {
        let views = objects.views.values().filter(|view| view.entity == entity.name);
        let views: Vec<String> = views.map(|view| view.name.clone()).collect();
        match entity::keys(entity, given) {
            Ok(_) if !views.is_empty() => return Ok(views),
            // Of the entity that has these very keys it is worth saying what is wrong with a value.
            Err(error) if entity::names_all(entity, given) => refused = Some(error),
            _ => {}
        }
    }
    let entities = objects.entities.values().map(entity::described).collect::<Vec<_>>().join(", ");
    let fault = Fault::coded(616, "no entity with features has these keys");
    Err(refused.unwrap_or_else(|| ApiError::invalid(fault.hint(format!("there are {entities}")))))
}

fn known<'o>(objects: &'o Objects, name: &str) -> Result<&'o FeatureView, ApiError> {
    objects.views.get(name).ok_or_else(|| ApiError::unknown(611, "feature view", name, objects.views.keys()))
}

/// A view that holds rows or values; there is nothing to fill of one that is computed whenever it is asked.
fn stored(objects: &Objects, name: &str) -> Result<(), ApiError> {
    let view = known(objects, name)?;
    if view.kind().stored() {
        return Ok(());
    }
    let inputs: Vec<&str> = view.input_views().into_iter().collect();
    let message =
        format!("view `{name}` holds nothing that could be filled: it is computed whenever it is asked");
    let hint = format!("fill what it is computed from: {}", inputs.join(", "));
    Err(ApiError::invalid(Fault::coded(614, message).hint(hint)))
}

fn entity_of<'o>(objects: &'o Objects, view: &FeatureView) -> Result<&'o Entity, ApiError> {
    let missing = || ApiError::unknown(301, "entity", &view.entity, objects.entities.keys());
    objects.entities.get(&view.entity).ok_or_else(missing)
}
