//! Rollouts: begun here, judged by the keeper, ended by a promotion or a rollback.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_catalog::{Rollout, RolloutPlan};
use tidemill_core::Fault;
use tidemill_online::{Arms, Tally, figures::milliseconds};
use tidemill_spec::units::parse_duration;
use tokio::time::timeout;

use super::{Answer, models, one};
use crate::{Api, error::ApiError, extract::Body};

/// Rollouts on a model's page.
const LISTED: u32 = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Canary {
    version: i32,
    alias: String,
    /// Percent.
    #[serde(default = "default_steps")]
    steps: Vec<u32>,
    /// `15m`
    #[serde(default = "default_every")]
    every: String,
    #[serde(default = "default_entities")]
    entities_min: u64,
    error_rate_max: Option<f64>,
    p95_ms_max: Option<f64>,
}

fn default_steps() -> Vec<u32> {
    vec![10, 50]
}

fn default_every() -> String {
    "15m".to_owned()
}

fn default_entities() -> u64 {
    500
}

/// `POST /v1/models/{model}/canary`
pub(super) async fn canary(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(body): Body<Canary>,
) -> Answer {
    models::known(&api.stores.catalog.objects().await?, &name)?;
    let every = parse_duration(&body.every).ok_or_else(|| {
        let message = format!("`{}` is not a duration", body.every);
        ApiError::invalid(Fault::coded(883, message).hint("write 90s, 15m or 2h"))
    })?;
    let plan = RolloutPlan {
        steps: body.steps,
        every_seconds: every.as_secs(),
        entities_min: body.entities_min,
        error_rate_max: body.error_rate_max,
        p95_ms_max: body.p95_ms_max,
    };
    let (catalog, online) = (&api.stores.catalog, &api.stores.online);
    let id = tidemill_registry::canary(catalog, online, (&name, &body.alias), body.version, &plan).await?;
    one(json!({
        "rollout": id, "model": name, "alias": body.alias, "candidate": body.version,
        "percent": plan.steps.first(), "steps": plan.steps, "every_seconds": plan.every_seconds,
    }))
}

/// The newest rollouts of a model; of one that goes on, what both versions do in this step. A Redis that is away fails no page.
pub(super) async fn of(api: &Api, model: &str) -> Result<Value, ApiError> {
    let mut rows = Vec::new();
    for rollout in api.stores.catalog.rollouts_of(model, LISTED).await? {
        let mut row = serde_json::to_value(&rollout)?;
        row["percent"] = rollout.percent().into();
        if rollout.percent() > 0 {
            let arms = arms(api, &rollout).await;
            row["arms"] = json!({ "candidate": tally(&arms.candidate), "control": tally(&arms.control) });
        }
        rows.push(row);
    }
    Ok(rows.into())
}

async fn arms(api: &Api, rollout: &Rollout) -> Arms {
    let id = rollout.id.to_string();
    let said = timeout(models::REPLICAS_MAX, api.stores.online.arms(&id, rollout.step)).await;
    Arms::over(said.map(Result::unwrap_or_default).unwrap_or_default().values())
}

fn tally(tally: &Tally) -> Value {
    json!({
        "requests": tally.requests, "errors": tally.errors, "fell_back": tally.fell_back, "entities": tally.entities,
        "failed": tally.failed, "defaulted": tally.defaulted,
        "p50_ms": milliseconds(&tally.latency, 0.50), "p95_ms": milliseconds(&tally.latency, 0.95),
    })
}
