//! Everything at a glance.

use axum::extract::State;
use serde_json::json;
use tidemill_core::RunState;
use tidemill_store::RunQuery;

use super::{Answer, items, one};
use crate::Api;

/// Failed runs that a glance shows.
const FAILED_SHOWN: i64 = 5;

/// `GET /readyz`: the database answers.
pub(super) async fn ready(State(api): State<Api>) -> Answer {
    one(json!({ "now": api.stores.store.database_now().await? }))
}

/// `GET /v1/places`: where clients find what other roles do.
pub(super) async fn places(State(api): State<Api>) -> Answer {
    one(json!({ "gateway": api.places.gateway, "serve": api.places.serve }))
}

/// `GET /v1/workers`
pub(super) async fn workers(State(api): State<Api>) -> Answer {
    items(api.stores.store.workers().await?)
}

/// `GET /v1/queue`
pub(super) async fn queue(State(api): State<Api>) -> Answer {
    items(api.stores.store.queue().await?)
}

/// `GET /v1/status`
pub(super) async fn status(State(api): State<Api>) -> Answer {
    let (store, catalog) = (&api.stores.store, &api.stores.catalog);
    let runs = |state, limit| RunQuery {
        state: Some(state),
        pipeline: None,
        all: false,
        finished_since: None,
        limit,
    };
    let objects = catalog.objects().await?;
    one(json!({
        "project": objects.project.name,
        "now": api.now().await?,
        "workers": store.workers().await?,
        "queue": store.queue().await?,
        "running": store.runs(&runs(RunState::Running, 20)).await?,
        "failed": store.runs(&runs(RunState::Failed, FAILED_SHOWN)).await?,
        "sources": super::sources::rows(&api).await?,
        "views": super::features::rows(&api).await?,
        "schedules": store.schedules().await?,
        "incidents": super::monitors::open_incidents(&api).await?,
    }))
}
