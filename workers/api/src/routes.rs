//! Every route, in one table.
//!
//! `GET /v1/NOUNS` answers `{"items": […]}`, `GET /v1/NOUNS/NAME` one object, `POST /v1/NOUNS/NAME/VERB` does something
//! and answers with what it made. A failure is a status and `{"error": {code, message, detail, hint}}`.

mod apply;
mod clock;
mod datasets;
mod features;
mod files;
mod lineage;
mod models;
mod monitors;
mod plan;
mod predictions;
mod removal;
mod rollouts;
mod runs;
mod schedules;
mod sources;
mod sql;
mod status;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, OriginalUri},
    http::Method,
    middleware,
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{Value, json};
use tidemill_core::Fault;

use crate::{Api, error::ApiError, idempotency};

/// What a handler answers.
type Answer = Result<Json<Value>, ApiError>;

/// The REST interface.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(status::ready))
        .route("/v1/status", get(status::status))
        .route("/v1/places", get(status::places))
        .route("/v1/workers", get(status::workers))
        .route("/v1/queue", get(status::queue))
        .route("/v1/apply", post(apply::apply))
        .route("/v1/plan", post(plan::plan))
        .route("/v1/clock", get(clock::show).post(clock::set))
        .route("/v1/runs", get(runs::list).post(runs::start))
        .route("/v1/runs/{run}", get(runs::show))
        .route("/v1/runs/{run}/logs", get(runs::logs))
        .route("/v1/runs/{run}/retry", post(runs::retry))
        .route("/v1/runs/{run}/cancel", post(runs::cancel))
        .route("/v1/schedules", get(schedules::list))
        .route("/v1/schedules/{schedule}/pause", post(schedules::pause))
        .route("/v1/schedules/{schedule}/resume", post(schedules::resume))
        .route("/v1/sources", get(sources::list))
        .route("/v1/sources/{source}", get(sources::show))
        .route("/v1/sources/{source}/seen-early", get(sources::seen_early))
        .route("/v1/sources/{source}/stored-otherwise", post(sources::stored_otherwise))
        .route("/v1/sources/{source}/dead-letters", get(sources::dead_letters))
        .route("/v1/sources/{source}/replay", post(sources::replay))
        .route("/v1/sources/{source}/push", post(sources::push))
        .route("/v1/sources/{source}/truncate", post(removal::truncate))
        .route("/v1/sources/{source}/drop", post(removal::drop))
        .route("/v1/entities/{entity}/erase", post(removal::erase))
        .route("/v1/uploads/{upload}", get(sources::upload))
        .route("/v1/features", get(features::list))
        .route("/v1/features/get", post(features::get))
        .route("/v1/features/{view}", get(features::show))
        .route("/v1/features/{view}/history", post(features::history))
        .route("/v1/features/{view}/parity", post(features::parity))
        .route("/v1/features/{view}/backfill", post(features::backfill))
        .route("/v1/features/{view}/recompute", post(features::recompute))
        .route("/v1/features/{view}/rebuild-online", post(features::rebuild_online))
        .route("/v1/sql", post(sql::ask))
        .route("/v1/sql/file", post(sql::file))
        .route("/v1/datasets", get(datasets::list))
        .route("/v1/datasets/build", post(datasets::build))
        .route("/v1/datasets/{dataset}", get(datasets::show))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{model}", get(models::show))
        .route("/v1/models/{model}/entity", get(models::entity))
        .route("/v1/models/{model}/request", get(models::request))
        .route("/v1/files", post(files::put))
        .route("/v1/models/{model}/register", post(files::register))
        .route("/v1/models/{model}/canary", post(rollouts::canary))
        .route("/v1/models/{model}/promote", post(models::promote))
        .route("/v1/models/{model}/rollback", post(models::rollback))
        .route("/v1/predictions", get(predictions::list))
        .route("/v1/predictions/{prediction}", get(predictions::show))
        .route("/v1/predictions/{prediction}/replay", post(predictions::replay))
        .route("/v1/monitors", get(monitors::list))
        .route("/v1/monitors/{monitor}", get(monitors::show))
        .route("/v1/monitors/{monitor}/report", get(monitors::report))
        .route("/v1/monitors/{monitor}/run", post(monitors::run))
        .route("/v1/alerts", get(monitors::alerts))
        .route("/v1/lineage", get(lineage::lineage))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(api.clone(), idempotency::once))
        // Each route's limit is kept at the door.
        .layer(DefaultBodyLimit::disable())
        .with_state(api)
}

async fn no_route(OriginalUri(uri): OriginalUri) -> ApiError {
    let fault = Fault::coded(117, format!("there is nothing at {}", uri.path()));
    ApiError::not_found(fault.hint("routes are /v1/NOUNS, /v1/NOUNS/NAME and /v1/NOUNS/NAME/VERB"))
}

async fn no_method(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    let fault = Fault::coded(117, format!("{} does not take {method}", uri.path()));
    ApiError::no_method(fault.hint("GET reads, POST does"))
}

/// One object.
fn one(value: impl Serialize) -> Answer {
    Ok(Json(serde_json::to_value(value)?))
}

/// A list.
fn items(rows: impl Serialize) -> Answer {
    Ok(Json(json!({ "items": rows })))
}
