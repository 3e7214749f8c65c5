//! The judge of rollouts: looks at what both arms do, and lets the candidate grow, be promoted, or be rolled back with an
//! incident.
//!
//! Any number of servers may judge: a rollout is held while it is judged, and what was seen is kept with it, so that nothing is
//! counted twice and a judge that dies is followed by the next look. The alias moves in the same transaction.

use std::collections::BTreeMap;

use tidemill_catalog::{Catalog, Rollout, RolloutState};
use tidemill_core::Time;
use tidemill_online::{Arms, Online};
use tidemill_registry::{Decision, decide, evidence::Evidence, figures_of};

use crate::{Error, notify::notifications, silent::notifiers};

/// Looks once at every rollout that goes on. To be repeated every second or so. True if there are new jobs to wake workers for.
///
/// # Errors
/// Postgres or Redis can't be reached; every rollout stays as it is then.
pub async fn judge_rollouts(catalog: &Catalog, online: &Online, now: Time) -> Result<bool, Error> {
    let (mut moved, mut told) = (false, false);
    for rollout in catalog.rollouts().await? {
        let said = online.arms(&rollout.id.to_string(), rollout.step).await?;
        let (done, notified) = judge(catalog, &rollout, &said, now).await?;
        moved |= done;
        told |= notified;
    }
    if moved {
        tidemill_live::publish_or_later(catalog, online).await;
    }
    Ok(told)
}

/// Judges one; whether it changed who is asked, and whether somebody is to be told.
async fn judge(
    catalog: &Catalog,
    rollout: &Rollout,
    said: &BTreeMap<String, Arms>,
    now: Time,
) -> Result<(bool, bool), Error> {
    let mut tx = catalog.store().begin().await?;
    let Some((held, evidence)) = catalog.take_rollout(&mut tx, rollout.id).await? else {
        return Ok((false, false));
    };
    if held.step != rollout.step {
        // Another judge was faster: what was read is of the step before.
        return Ok((false, false));
    }
    let mut evidence: Evidence = serde_json::from_value(evidence).unwrap_or_default();
    evidence.look(held.step, said);
    let arms = Arms::over(said.values());
    let decision = decide(&held, &arms, &evidence, now);
    let (model, alias) = (held.model.as_str(), held.alias.as_str());
    let kept = serde_json::to_value(&evidence)
        .map_err(|error| tidemill_catalog::Error::Inconsistent(error.to_string()))?;
    let mut jobs = Vec::new();
    match &decision {
        Decision::Wait(reason) => catalog.save_rollout(&mut tx, held.id, held.step, reason, &kept).await?,
        Decision::Grow => catalog.save_rollout(&mut tx, held.id, held.step + 1, "", &kept).await?,
        Decision::Promote => {
            let reason = figures_of(&held, &arms);
            catalog.end_rollout(&mut tx, (model, alias), RolloutState::Promoted, &reason).await?;
            catalog.promote_model(&mut tx, model, held.candidate, alias).await?;
        }
        Decision::RollBack(bad) => {
            let reason = format!("{bad} ({})", figures_of(&held, &arms));
            catalog.end_rollout(&mut tx, (model, alias), RolloutState::RolledBack, &reason).await?;
            let summary = format!(
                "version {} was rolled back from {} % of {alias}: {reason}",
                held.candidate,
                held.percent()
            );
            let incident = catalog.open_rollback_incident(&mut tx, model, held.id, &summary).await?;
            let objects = catalog.objects().await?;
            jobs = notifications(catalog, &mut tx, incident, notifiers(&objects, model)).await?;
        }
    }
    catalog.store().enqueue_all(&mut tx, &jobs).await?;
    tx.commit().await?;
    Ok((!matches!(decision, Decision::Wait(_)), !jobs.is_empty()))
}
