//! Runs and schedules.

use axum::{
    Json,
    extract::{Path, Query, State},
};
use chrono::{NaiveDate, TimeDelta};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidemill_core::{Fault, RunId, RunState};
use tidemill_pipeline::{Day, StartRun, start_run};
use tidemill_store::{RunQuery, Trigger};

use super::{Answer, items, one};
use crate::{Api, error::ApiError};

const LIMIT_MAX: u32 = 1000;

#[derive(Deserialize)]
pub(super) struct List {
    state: Option<String>,
    pipeline: Option<String>,
    #[serde(default)]
    all: bool,
    limit: Option<u32>,
}

/// `GET /v1/runs`
pub(super) async fn list(State(api): State<Api>, Query(query): Query<List>) -> Answer {
    let state = query.state.map(|word| word.parse::<RunState>()).transpose().map_err(|error| {
        let words: Vec<&str> = RunState::ALL.iter().map(|state| state.as_str()).collect();
        ApiError::invalid(
            Fault::coded(1006, error.to_string()).hint(format!("states are {}", words.join(", "))),
        )
    })?;
    let limit = i64::from(query.limit.unwrap_or(20).min(LIMIT_MAX));
    let all = query.all || query.pipeline.is_some();
    items(
        api.stores
            .store
            .runs(&RunQuery { state, pipeline: query.pipeline, all, finished_since: None, limit })
            .await?,
    )
}

#[derive(Deserialize)]
pub(super) struct Start {
    pipeline: String,
    date: Option<NaiveDate>,
    #[serde(default)]
    params: Map<String, Value>,
    key: Option<String>,
}

/// `POST /v1/runs`
pub(super) async fn start(State(api): State<Api>, Json(body): Json<Start>) -> Answer {
    let day = match body.date {
        Some(date) => Day::Date(date),
        None => Day::At(api.now().await?),
    };
    let start = StartRun {
        pipeline: body.pipeline,
        params: body.params,
        day,
        trigger: Trigger::Manual,
        key: body.key,
    };
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    let started = start_run(&api.stores.catalog, &mut tx, &start).await?;
    tx.commit().await?;
    store.wake().await;
    one(json!({ "id": started.run, "existed": started.existed }))
}

/// `GET /v1/runs/{run}`
pub(super) async fn show(State(api): State<Api>, Path(run): Path<String>) -> Answer {
    one(api.stores.store.run(parse(&run)?).await?)
}

#[derive(Deserialize)]
pub(super) struct Logs {
    step: Option<String>,
    attempt: Option<i32>,
}

/// `GET /v1/runs/{run}/logs`
pub(super) async fn logs(
    State(api): State<Api>,
    Path(run): Path<String>,
    Query(query): Query<Logs>,
) -> Answer {
    let run = parse(&run)?;
    api.stores.store.run(run).await?;
    items(api.stores.store.log(run, query.step.as_deref(), query.attempt).await?)
}

/// `POST /v1/runs/{run}/retry`
pub(super) async fn retry(State(api): State<Api>, Path(run): Path<String>) -> Answer {
    let run = parse(&run)?;
    let steps = api.stores.store.retry_run(run).await?;
    api.stores.store.wake().await;
    one(json!({ "id": run, "steps": steps }))
}

#[derive(Deserialize)]
pub(super) struct Failed {
    since: Option<String>,
    pipeline: Option<String>,
}

/// `GET /v1/runs/failed`: what a bulk retry would repeat.
pub(super) async fn failed(State(api): State<Api>, Query(query): Query<Failed>) -> Answer {
    let age = |text: &str| {
        tidemill_spec::units::parse_duration(text).and_then(|age| TimeDelta::from_std(age).ok()).ok_or_else(
            || {
                let fault = Fault::coded(1006, format!("`{text}` is not a length of time"));
                ApiError::invalid(fault.hint("write 30m, 24h or 7d"))
            },
        )
    };
    let since = query.since.as_deref().map(age).transpose()?.map(|age| api.wall() - age);
    items(api.stores.store.failed_runs(since, query.pipeline).await?)
}

/// `POST /v1/runs/{run}/cancel`
pub(super) async fn cancel(State(api): State<Api>, Path(run): Path<String>) -> Answer {
    let run = parse(&run)?;
    api.stores.store.cancel_run(run, "cancelled by hand").await?;
    one(api.stores.store.run(run).await?)
}

/// `GET /v1/schedules`
pub(super) async fn schedules(State(api): State<Api>) -> Answer {
    items(api.stores.store.schedules().await?)
}

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

/// `POST /v1/schedules/pause`
pub(super) async fn pause(State(api): State<Api>, Json(body): Json<Named>) -> Answer {
    api.stores.store.pause_schedule(&body.name, true).await?;
    one(json!({ "name": body.name, "paused": true }))
}

/// `POST /v1/schedules/resume`
pub(super) async fn resume(State(api): State<Api>, Json(body): Json<Named>) -> Answer {
    api.stores.store.pause_schedule(&body.name, false).await?;
    one(json!({ "name": body.name, "paused": false }))
}

/// A run's id as people write it.
fn parse(run: &str) -> Result<RunId, ApiError> {
    run.parse().map_err(|error: tidemill_core::ids::InvalidId| {
        ApiError::invalid(Fault::coded(1003, error.to_string()).hint("tidemill runs list"))
    })
}
