//! Schedules of pipelines and monitors.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;
use tidemill_core::{Schedule, Time};
use tidemill_runtime::{TickPlan, plan_ticks};
use tidemill_store::{ScheduleRow, TickOutcome};

use super::{Answer, items, one};
use crate::{Api, error::ApiError, extract::Asked};

/// `GET /v1/schedules`
pub(super) async fn list(State(api): State<Api>) -> Answer {
    items(api.stores.store.schedules().await?)
}

/// `POST /v1/schedules/{schedule}/pause`
pub(super) async fn pause(State(api): State<Api>, Path(asked): Path<String>) -> Answer {
    let (name, store) = (named(&api, &asked).await?, &api.stores.store);
    let mut tx = store.begin().await?;
    let schedule = store.lock_schedule(&mut tx, &name).await?;
    store.pause_schedule(&mut tx, &name, true).await?;
    tx.commit().await?;
    one(json!({
        "name": name, "paused": true, "next_at": schedule.next_at, "catchup": schedule.catchup,
        "overlap": schedule.overlap,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resume {
    /// Only say what would fire.
    #[serde(default)]
    dry_run: bool,
    /// Fire none of the ticks that passed while it was paused.
    #[serde(default)]
    skip_missed: bool,
}

/// `POST /v1/schedules/{schedule}/resume`: answers which ticks fire now, of those that passed while it was paused.
pub(super) async fn resume(
    State(api): State<Api>,
    Path(asked): Path<String>,
    Asked(query): Asked<Resume>,
) -> Answer {
    let (name, store) = (named(&api, &asked).await?, &api.stores.store);
    let now = api.now().await?;
    let mut tx = store.begin().await?;
    let schedule = store.lock_schedule(&mut tx, &name).await?;
    let open = store.open_tick_runs(&mut tx, &name).await?.len();
    let mut due = plan_ticks(&schedule, open, now)?;
    if query.skip_missed {
        skip(&mut due, &schedule, now);
    }
    if !query.dry_run {
        if query.skip_missed {
            for (at, outcome) in &due.ticks {
                store.record_tick(&mut tx, &name, *at, *outcome, None).await?;
            }
            store.advance_schedule(&mut tx, &name, due.next_at).await?;
        }
        // What fires now is left to maintenance, as every tick is: it plans the same.
        store.pause_schedule(&mut tx, &name, false).await?;
        tx.commit().await?;
    }
    let of = |wanted| due.ticks.iter().filter(move |(_, outcome)| *outcome == wanted).map(|(at, _)| *at);
    one(json!({
        "name": name, "paused": query.dry_run, "fires": of(TickOutcome::Fired).collect::<Vec<_>>(),
        "left_out": of(TickOutcome::Missed).chain(of(TickOutcome::Skipped)).count(),
        "next_at": due.next_at, "catchup": schedule.catchup, "overlap": schedule.overlap,
    }))
}

/// Lets all ticks up to now go.
fn skip(due: &mut TickPlan, schedule: &ScheduleRow, now: Time) {
    for (_, outcome) in &mut due.ticks {
        *outcome = TickOutcome::Missed;
    }
    if due.next_at <= now
        && let Ok(times) = Schedule::new(&schedule.cron, &schedule.timezone)
        && let Some(next) = times.next_after(now)
    {
        due.next_at = next.at;
    }
}

/// `train_daily` means `pipeline/train_daily` where only one kind has that name.
async fn named(api: &Api, asked: &str) -> Result<String, ApiError> {
    let schedules = api.stores.store.schedules().await?;
    let names: Vec<String> = schedules.into_iter().map(|schedule| schedule.name).collect();
    let meant =
        |name: &&String| *name == asked || name.split_once('/').is_some_and(|(_, name)| name == asked);
    match names.iter().filter(meant).collect::<Vec<_>>().as_slice() {
        [name] => Ok((*name).clone()),
        _ => Err(ApiError::unknown(111, "schedule", asked, &names)),
    }
}
