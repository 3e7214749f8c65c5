//! The data clock.

use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use tidemill_core::{Fault, Unmoved};

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

/// `POST /v1/clock`: forward only, not absurdly far, and only a replay clock. Rows that became known reach Redis by jobs.
pub(super) async fn set(State(api): State<Api>, Body(body): Body<Set>) -> Answer {
    let to = instant(&body.time)?;
    let store = &api.stores.store;
    let updates = tidemill_features::clock_moved(&api.stores.catalog).await?;
    let mut tx = store.begin().await?;
    let clock = store.lock_data_clock(&mut tx).await?;
    let moved = clock.moved(to, api.wall()).map_err(|why| {
        let (now, to) = (clock.at(api.wall()).to_rfc3339(), to.to_rfc3339());
        let hint = match why {
            Unmoved::Wall => {
                "this project's clock is real time; declare `clock: { replay: … }` in tidemill.yaml".to_owned()
            }
            Unmoved::Backward => "a replay clock only moves forward: what was known stays known".to_owned(),
            Unmoved::TooFar { furthest } => format!(
                "it could not go back: check the year; one step goes to {} at most, a year beyond real time or what the clock shows",
                furthest.to_rfc3339()
            ),
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
