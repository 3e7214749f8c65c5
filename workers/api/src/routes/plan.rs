//! What applying a project would do, with what that means for data. Nothing is changed.

use axum::extract::State;
use serde_json::{Value, json};
use tidemill_catalog::{Change, ChangeKind};
use tidemill_core::{Time, schedule::Schedule};
use tidemill_features::Consequence;
use tidemill_spec::{ObjectKind, Objects};

use super::{
    Answer,
    apply::{Apply, Proposal, code_change, row},
    one,
};
use crate::{Api, extract::Body};

/// Ticks of a schedule that are shown.
const TICKS: usize = 3;

/// `POST /v1/plan`
pub(super) async fn plan(State(api): State<Api>, Body(body): Body<Apply>) -> Answer {
    let proposal = Proposal::of(&api, body).await?;
    let catalog = &api.stores.catalog;
    let code_before = catalog.code_hash().await?;
    // All that applying does, but for the end.
    let mut tx = api.stores.store.begin().await?;
    let applied = proposal.apply(&api, &mut tx).await?;
    let versions = catalog.view_versions_in(&mut tx).await?;
    drop(tx);
    let consequences = tidemill_features::consequences(&api.features, &versions).await?;
    let items: Vec<Value> = applied
        .changes
        .iter()
        .filter(|change| change.change != ChangeKind::Unchanged || change.building.is_some())
        .map(|change| item(change, &consequences, &proposal.loaded.objects, applied.now))
        .collect();
    let code = code_change(&api, code_before.as_deref(), &proposal.code).await;
    one(json!({ "id": applied.plan, "items": items, "code": code }))
}

fn item(change: &Change, consequences: &[Consequence], objects: &Objects, now: Time) -> Value {
    let mut item = row(change);
    let name = &change.object.name;
    let of_view = |found: &&Consequence| change.object.kind == ObjectKind::View && found.view == *name;
    item["rows"] = json!(consequences.iter().find(of_view));
    item["next"] = match change.object.kind {
        ObjectKind::Pipeline => json!(next(objects, name, now)),
        _ => json!([]),
    };
    item
}

/// When a pipeline starts by itself next.
fn next(objects: &Objects, pipeline: &str, now: Time) -> Vec<Time> {
    let times = objects.pipelines.get(pipeline).and_then(|pipeline| pipeline.schedule.as_ref());
    let schedule = times.and_then(|times| Schedule::new(&times.cron, &times.timezone).ok());
    schedule.into_iter().flat_map(|schedule| ticks(&schedule, now)).collect()
}

fn ticks(schedule: &Schedule, now: Time) -> Vec<Time> {
    let first = schedule.next_after(now).map(|tick| tick.at);
    std::iter::successors(first, |at| schedule.next_after(*at).map(|tick| tick.at)).take(TICKS).collect()
}
