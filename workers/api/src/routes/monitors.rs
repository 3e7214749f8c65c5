//! Monitors and incidents.

use axum::{
    extract::{Path, State},
    response::Html,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_catalog::ScanRow;
use tidemill_core::Fault;
use tidemill_monitor::{start_scan, window::parse_window};
use tidemill_spec::{Monitor, Objects};

use super::{Answer, items, one};
use crate::{
    Api,
    error::ApiError,
    extract::{Asked, Body},
};

/// `GET /v1/monitors`
pub(super) async fn list(State(api): State<Api>) -> Answer {
    items(tidemill_monitor::monitors(&api.stores.catalog).await?)
}

/// `GET /v1/monitors/{monitor}`
pub(super) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    known(&api.stores.catalog.objects().await?, &name)?;
    one(tidemill_monitor::monitor(&api.stores.catalog, &name).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// A month, a day, or FROM..TO.
    window: String,
}

/// `POST /v1/monitors/{monitor}/run`
pub(super) async fn run(State(api): State<Api>, Path(name): Path<String>, Body(body): Body<Run>) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    let window = parse_window(known(&objects, &name)?, &body.window)?;
    let now = api.now().await?;
    if window.start > now {
        return Err(tidemill_monitor::Error::Ahead { from: window.start, now }.into());
    }
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    let started = start_scan(&api.stores.catalog, &mut tx, &name, window.start, window.end).await?;
    tx.commit().await?;
    store.wake().await;
    one(json!({ "run_id": started.run }))
}

/// Which window's page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// As for a run; default: the newest that was scanned.
    window: Option<String>,
}

/// `GET /v1/monitors/{monitor}/report`: the page of a scanned window, for a browser.
pub(super) async fn report(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked(page): Asked<Page>,
) -> Result<Html<Vec<u8>>, ApiError> {
    let objects = api.stores.catalog.objects().await?;
    let monitor = known(&objects, &name)?;
    let window = match page.window.as_deref() {
        Some(text) => Some(parse_window(monitor, text)?),
        None => None,
    };
    let scans = api.stores.catalog.scans(&name, None).await?;
    let asked = |scan: &&ScanRow| window.as_ref().is_none_or(|window| *window == (scan.from..scan.to));
    let scanned = scans.iter().find(asked).and_then(|scan| scan.body["report"].as_str());
    let Some(path) = scanned else {
        let window = page.window.unwrap_or_else(|| "2013-09".to_owned());
        let fault = Fault::coded(904, format!("no such window of `{name}` was scanned"));
        return Err(ApiError::not_found(
            fault.hint(format!("tidemill monitors run {name} --window {window}")),
        ));
    };
    let bytes = api.stores.blobs.get_at(path).await.map_err(tidemill_monitor::Error::from)?;
    Ok(Html(bytes.to_vec()))
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
    objects.monitors.get(name).ok_or_else(|| ApiError::unknown(901, "monitor", name, objects.monitors.keys()))
}
