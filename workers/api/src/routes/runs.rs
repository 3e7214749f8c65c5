//! Runs.

use axum::{
    extract::{Path, State},
    http::HeaderMap,
};
use chrono::{NaiveDate, TimeDelta};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidemill_core::{Fault, RunId, RunState, Time, calendar::within_reach};
use tidemill_pipeline::{Code, Day, StartRun, retry_run, start_run};
use tidemill_store::{RunQuery, Trigger};

use super::{Answer, items, one};
use crate::{
    Api,
    error::ApiError,
    extract::{Asked, Body, limit},
    idempotency,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    state: Option<String>,
    pipeline: Option<String>,
    /// Jobs of the platform itself too.
    #[serde(default)]
    all: bool,
    /// Only those that ended within this length of real time, e.g. `24h`.
    since: Option<String>,
    limit: Option<u32>,
}

/// `GET /v1/runs`
pub(super) async fn list(State(api): State<Api>, Asked(query): Asked<List>) -> Answer {
    let state = query.state.as_deref().map(state).transpose()?;
    let finished_since = query.since.as_deref().map(|since| before(api.wall(), since)).transpose()?;
    let limit = i64::from(limit(query.limit)?);
    let all = query.all || query.pipeline.is_some();
    let asked = RunQuery { state, pipeline: query.pipeline, all, finished_since, limit };
    items(api.stores.store.runs(&asked).await?)
}

fn state(word: &str) -> Result<RunState, ApiError> {
    word.parse().map_err(|_| {
        let states: Vec<String> = RunState::ALL.iter().map(|state| state.as_str().to_owned()).collect();
        ApiError::unknown(112, "state of runs", word, &states)
    })
}

/// The moment so long before `now`.
pub(super) fn before(now: Time, age: &str) -> Result<Time, ApiError> {
    let length = tidemill_spec::units::parse_duration(age).and_then(|age| TimeDelta::from_std(age).ok());
    length.and_then(|length| now.checked_sub_signed(length)).ok_or_else(|| {
        let fault = Fault::coded(112, format!("`since={age}` is not a length of time"));
        ApiError::malformed(fault.hint("write 30m, 24h or 7d"))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    pipeline: String,
    date: Option<NaiveDate>,
    #[serde(default)]
    params: Map<String, Value>,
}

/// `POST /v1/runs`. The key goes into the run's own transaction, so that not even a crash starts a second one.
pub(super) async fn start(State(api): State<Api>, headers: HeaderMap, Body(body): Body<Start>) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    if !objects.pipelines.contains_key(&body.pipeline) {
        return Err(ApiError::unknown(320, "pipeline", &body.pipeline, objects.pipelines.keys()));
    }
    let key = headers.get(idempotency::HEADER).and_then(|key| key.to_str().ok()).map(str::to_owned);
    let day = match body.date {
        Some(date) if !within_reach(date) => {
            let fault = Fault::coded(112, format!("a run can't have the date {date}"));
            return Err(ApiError::invalid(fault.hint("use a day in the years 1 to 9999")));
        }
        Some(date) => Day::Date(date),
        None => Day::At(api.now().await?),
    };
    let start = StartRun { pipeline: body.pipeline, params: body.params, day, trigger: Trigger::Manual, key };
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
#[serde(deny_unknown_fields)]
pub(super) struct Logs {
    step: Option<String>,
    attempt: Option<i32>,
}

/// `GET /v1/runs/{run}/logs`
pub(super) async fn logs(
    State(api): State<Api>,
    Path(run): Path<String>,
    Asked(query): Asked<Logs>,
) -> Answer {
    let run = parse(&run)?;
    let page = api.stores.store.run(run).await?;
    let steps: Vec<String> = page.step_list.into_iter().map(|step| step.name).collect();
    if let Some(step) = query.step.as_ref().filter(|step| !steps.contains(step)) {
        return Err(ApiError::unknown(109, "step", step, &steps));
    }
    items(api.stores.store.log(run, query.step.as_deref(), query.attempt).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Which project code the repeated steps run: `current`, or `pinned` for that of when the run started.
    #[serde(default)]
    code: Code,
}

/// `POST /v1/runs/{run}/retry`
pub(super) async fn retry(
    State(api): State<Api>,
    Path(run): Path<String>,
    Asked(query): Asked<Retry>,
) -> Answer {
    let stores = &api.stores;
    let retried = retry_run(&stores.catalog, &stores.blobs, parse(&run)?, query.code).await?;
    stores.store.wake().await;
    one(retried)
}

/// `POST /v1/runs/{run}/cancel`
pub(super) async fn cancel(State(api): State<Api>, Path(run): Path<String>) -> Answer {
    let run = parse(&run)?;
    api.stores.store.cancel_run(run, "cancelled by hand").await?;
    one(api.stores.store.run(run).await?)
}

/// A run's id as people write it.
fn parse(run: &str) -> Result<RunId, ApiError> {
    run.parse().map_err(|error: tidemill_core::ids::InvalidId| {
        ApiError::invalid(Fault::coded(110, error.to_string()).hint("tidemill runs list"))
    })
}
