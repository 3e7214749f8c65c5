//! The data clock.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::json;
use tidemill_core::Fault;
use tidemill_spec::value::parse_time;

use super::{Answer, one};
use crate::{Api, error::ApiError};

/// `GET /v1/clock`
pub(super) async fn show(State(api): State<Api>) -> Answer {
    let clock = api.stores.store.data_clock().await?;
    one(json!({ "now": clock.at(api.wall()), "clock": clock }))
}

#[derive(Deserialize)]
pub(super) struct Set {
    time: String,
}

/// `POST /v1/clock`: forward only, and only a replay clock. Rows that became known reach Redis by jobs.
pub(super) async fn set(State(api): State<Api>, Json(body): Json<Set>) -> Answer {
    let to = parse_time(&body.time).ok_or_else(|| {
        ApiError::invalid(
            Fault::coded(401, format!("`{}` is not an instant", body.time))
                .hint("write 2013-06-01T00:00:00-04:00"),
        )
    })?;
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    let clock = store.lock_data_clock(&mut tx).await?;
    let moved = clock.moved(to, api.wall()).ok_or_else(|| {
        let fault =
            Fault::coded(402, format!("the data clock can't move from {} to {to}", clock.at(api.wall())));
        ApiError::invalid(
            fault.hint("only a replay clock moves, and only forward; declare it in tidemill.yaml"),
        )
    })?;
    store.set_data_clock(&mut tx, moved).await?;
    let updates = tidemill_features::clock_moved(&api.stores.catalog).await?;
    store.enqueue_all(&mut tx, &updates).await?;
    tx.commit().await?;
    store.wake().await;
    tidemill_features::publish_live(&api.features).await?;
    one(json!({ "now": to, "clock": moved }))
}
