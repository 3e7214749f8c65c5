//! Monitors and incidents.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_core::Fault;
use tidemill_monitor::{start_scan, window::parse_window};
use tidemill_spec::{Monitor, Objects};

use super::{Answer, items, one};
use crate::{Api, error::ApiError};

/// `GET /v1/monitors`
pub(super) async fn list(State(api): State<Api>) -> Answer {
    items(tidemill_monitor::monitors(&api.stores.catalog).await?)
}

/// `GET /v1/monitors/{monitor}`
pub(super) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    one(tidemill_monitor::monitor(&api.stores.catalog, &name).await?)
}

#[derive(Deserialize)]
pub(super) struct Run {
    /// A month, a day, or FROM..TO.
    window: String,
}

/// `POST /v1/monitors/{monitor}/run`
pub(super) async fn run(State(api): State<Api>, Path(name): Path<String>, Json(body): Json<Run>) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    let window = parse_window(known(&objects, &name)?, &body.window)?;
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    let started = start_scan(&api.stores.catalog, &mut tx, &name, window.start, window.end).await?;
    tx.commit().await?;
    store.wake().await;
    one(json!({ "run_id": started.run }))
}

/// `GET /v1/alerts`
pub(super) async fn alerts(State(api): State<Api>) -> Answer {
    items(api.stores.catalog.incidents(None).await?)
}

/// Incidents that are open.
pub(super) async fn open_incidents(api: &Api) -> Result<Vec<Value>, ApiError> {
    let incidents = api.stores.catalog.incidents(None).await?;
    let rows = incidents.iter().filter(|incident| incident.closed_at.is_none()).map(serde_json::to_value);
    Ok(rows.collect::<Result<_, _>>()?)
}

fn known<'o>(objects: &'o Objects, name: &str) -> Result<&'o Monitor, ApiError> {
    objects.monitors.get(name).ok_or_else(|| {
        let names: Vec<&str> = objects.monitors.keys().map(String::as_str).collect();
        let fault = Fault::coded(301, format!("there is no monitor `{name}`"));
        ApiError::not_found(fault.hint(format!("monitors are {}", names.join(", "))))
    })
}
