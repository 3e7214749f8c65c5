//! Lineage up and down.

use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, one};
use crate::Api;

#[derive(Deserialize)]
pub(super) struct Asked {
    object: String,
    direction: Option<String>,
}

/// `GET /v1/lineage?object=view/aircraft_delay&direction=up`
pub(super) async fn lineage(State(api): State<Api>, Query(asked): Query<Asked>) -> Answer {
    let catalog = &api.stores.catalog;
    let wants = |direction| asked.direction.as_deref().is_none_or(|wanted| wanted == direction);
    let up = if wants("up") { catalog.lineage_up(&asked.object).await? } else { Vec::new() };
    let down = if wants("down") { catalog.lineage_down(&asked.object).await? } else { Vec::new() };
    one(json!({ "object": asked.object, "up": up, "down": down }))
}
