//! Every route, in one table. Lists answer `{"items": […]}`.

mod apply;
mod clock;
mod datasets;
mod features;
mod lineage;
mod models;
mod monitors;
mod runs;
mod sources;
mod status;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Api, error::ApiError};

/// What a handler answers.
type Answer = Result<Json<Value>, ApiError>;

/// Bytes of a request's body: label files are the largest.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The REST interface.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(status::ready))
        .route("/v1/status", get(status::status))
        .route("/v1/workers", get(status::workers))
        .route("/v1/queue", get(status::queue))
        .route("/v1/apply", post(apply::apply))
        .route("/v1/clock", get(clock::show).post(clock::set))
        .route("/v1/runs", get(runs::list).post(runs::start))
        .route("/v1/runs/failed", get(runs::failed))
        .route("/v1/runs/{run}", get(runs::show))
        .route("/v1/runs/{run}/logs", get(runs::logs))
        .route("/v1/runs/{run}/retry", post(runs::retry))
        .route("/v1/runs/{run}/cancel", post(runs::cancel))
        .route("/v1/schedules", get(runs::schedules))
        .route("/v1/schedules/pause", post(runs::pause))
        .route("/v1/schedules/resume", post(runs::resume))
        .route("/v1/sources", get(sources::list))
        .route("/v1/sources/{source}", get(sources::show))
        .route("/v1/sources/{source}/dead-letters", get(sources::dead_letters))
        .route("/v1/sources/{source}/replay", post(sources::replay))
        .route("/v1/uploads/{upload}", get(sources::upload))
        .route("/v1/features", get(features::list))
        .route("/v1/features/get", post(features::get))
        .route("/v1/features/{view}", get(features::show))
        .route("/v1/features/{view}/history", post(features::history))
        .route("/v1/features/{view}/parity", post(features::parity))
        .route("/v1/features/{view}/backfill", post(features::backfill))
        .route("/v1/features/{view}/rebuild-online", post(features::rebuild_online))
        .route("/v1/datasets", get(datasets::list))
        .route("/v1/datasets/build", post(datasets::build))
        .route("/v1/datasets/{dataset}", get(datasets::show))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{model}", get(models::show))
        .route("/v1/models/{model}/promote", post(models::promote))
        .route("/v1/models/{model}/rollback", post(models::rollback))
        .route("/v1/entity", get(models::entity))
        .route("/v1/monitors", get(monitors::list))
        .route("/v1/monitors/{monitor}", get(monitors::show))
        .route("/v1/monitors/{monitor}/run", post(monitors::run))
        .route("/v1/alerts", get(monitors::alerts))
        .route("/v1/lineage", get(lineage::lineage))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// One object.
fn one(value: impl Serialize) -> Answer {
    Ok(Json(serde_json::to_value(value)?))
}

/// A list.
fn items(rows: impl Serialize) -> Answer {
    Ok(Json(json!({ "items": rows })))
}
