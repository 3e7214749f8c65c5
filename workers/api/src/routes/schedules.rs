//! Schedules of pipelines and monitors.

use axum::extract::{Path, State};
use serde_json::json;

use super::{Answer, items, one};
use crate::{Api, error::ApiError};

/// `GET /v1/schedules`
pub(super) async fn list(State(api): State<Api>) -> Answer {
    items(api.stores.store.schedules().await?)
}

/// `POST /v1/schedules/{schedule}/pause`
pub(super) async fn pause(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    hold(&api, &name, true).await
}

/// `POST /v1/schedules/{schedule}/resume`
pub(super) async fn resume(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    hold(&api, &name, false).await
}

async fn hold(api: &Api, asked: &str, paused: bool) -> Answer {
    let store = &api.stores.store;
    let names: Vec<String> = store.schedules().await?.into_iter().map(|schedule| schedule.name).collect();
    // `train_daily` means `pipeline/train_daily` where only one kind has that name.
    let meant =
        |name: &&String| *name == asked || name.split_once('/').is_some_and(|(_, name)| name == asked);
    let found: Vec<&String> = names.iter().filter(meant).collect();
    let [name] = found.as_slice() else { return Err(ApiError::unknown(111, "schedule", asked, &names)) };
    store.pause_schedule(name, paused).await?;
    one(json!({ "name": name, "paused": paused }))
}
