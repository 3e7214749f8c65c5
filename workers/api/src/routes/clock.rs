//! The data clock.

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use tidemill_core::{DataClock, Fault};

use super::{Answer, one};
use crate::{
    Api,
    error::ApiError,
    extract::{Body, instant},
};

/// `GET /v1/clock`
pub(super) async fn show(State(api): State<Api>) -> Answer {
    let clock = api.stores.store.data_clock().await?;
    one(json!({ "now": clock.at(api.wall()), "clock": clock }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Set {
    time: String,
}

/// `POST /v1/clock`: forward only, and only a replay clock. Rows that became known reach Redis by jobs.
pub(super) async fn set(State(api): State<Api>, Body(body): Body<Set>) -> Answer {
    let to = instant(&body.time)?;
    let store = &api.stores.store;
    let updates = tidemill_features::clock_moved(&api.stores.catalog).await?;
    let mut tx = store.begin().await?;
    let clock = store.lock_data_clock(&mut tx).await?;
    let moved = clock.moved(to, api.wall()).ok_or_else(|| {
        let (now, to) = (clock.at(api.wall()).to_rfc3339(), to.to_rfc3339());
        let hint = match clock {
            DataClock::Wall => {
                "this project's clock is real time; declare `clock: { replay: … }` in tidemill.yaml"
            }
            DataClock::Replay { .. } => "a replay clock only moves forward: what was known stays known",
        };
        ApiError::invalid(
            Fault::coded(113, format!("the data clock can't move from {now} to {to}")).hint(hint),
        )
    })?;
    store.set_data_clock(&mut tx, moved).await?;
    store.enqueue_all(&mut tx, &updates).await?;
    tx.commit().await?;
    store.wake().await;
    tidemill_live::publish_or_later(&api.stores.catalog, &api.stores.online).await;
    one(json!({ "now": to, "clock": moved }))
}
