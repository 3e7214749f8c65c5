//! Everything at a glance.

use std::time::Duration;

use axum::extract::State;
use serde_json::{Value, json};
use tidemill_core::{Fault, RunState};
use tidemill_store::RunQuery;

use super::{Answer, items, one};
use crate::Api;

/// Failed runs that a glance shows.
const FAILED_SHOWN: i64 = 5;

/// How long a store may take to say that it is there.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

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
        "away": away(&api).await,
        "workers": store.workers().await?,
        "queue": store.queue().await?,
        "running": store.runs(&runs(RunState::Running, 20)).await?,
        "failed": store.runs(&runs(RunState::Failed, FAILED_SHOWN)).await?,
        "sources": super::sources::rows(&api).await?,
        "views": super::features::rows(&api).await?,
        "schedules": store.schedules().await?,
        "incidents": super::monitors::open_incidents(&api).await?,
        "serving": super::models::serving(&api).await,
    }))
}

/// The stores that don't answer, each with the reason and what that means; Postgres isn't among them, for nothing could be
/// said then.
async fn away(api: &Api) -> Vec<Value> {
    let (redis, objects) = tokio::join!(
        refusal(api.stores.online.ping()),
        // Whether anything is there doesn't matter.
        refusal(api.stores.blobs.exists("is-it-there")),
    );
    let stores = [
        (
            "redis",
            redis,
            "predictions fail, online values are as old as the outage; jobs wait and go on by themselves",
        ),
        ("objects", objects, "uploads are refused; jobs wait and go on by themselves; loaded models answer"),
    ];
    let told = stores.into_iter().filter_map(|(store, error, meaning)| {
        Some(json!({ "store": store, "error": error?, "meaning": meaning }))
    });
    told.collect()
}

/// Why a store didn't answer; `None`: it did.
async fn refusal<T, E: std::error::Error>(asked: impl Future<Output = Result<T, E>>) -> Option<String> {
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(Fault::from_error(&error).message),
        Err(_) => Some(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}
