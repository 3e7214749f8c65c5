//! Rollouts: a candidate answers a growing share of an alias's entities until it is promoted, or rolled back by what it does.
//!
//! [`canary`] begins one, [`promote`](crate::promote) and [`rollback`](crate::rollback) end it at once, [`decide`] says what comes
//! next (pure). The judge that looks and acts is in `monitor`: it opens incidents.

use chrono::TimeDelta;
use tidemill_catalog::{Catalog, Rollout, RolloutPlan, RolloutState};
use tidemill_core::{RolloutId, Time};
use tidemill_online::{Arms, Online, Tally, figures::milliseconds};
use tidemill_store::Tx;

use crate::{
    Error,
    evidence::{Evidence, disaster},
    servable::servable,
};

/// Requests of the candidate before a limit of its error rate or p95 says anything.
const LIMITED_MIN: u64 = 100;
/// Steps of one rollout.
const STEPS_MAX: usize = 20;

/// What becomes of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is; what it waits for.
    Wait(String),
    /// The candidate gets its next share.
    Grow,
    /// The alias names the candidate from now on.
    Promote,
    /// The candidate is asked no more; why.
    RollBack(String),
}

/// Begins a rollout: the candidate gets the plan's first share of the entities.
///
/// # Errors
/// [`Error::RolloutUnderWay`], [`Error::NoRollout`], [`Error::UnknownVersion`], [`Error::UnknownAlias`],
/// [`Error::NotServable`], or Postgres can't be reached.
pub async fn canary(
    catalog: &Catalog,
    online: &Online,
    (model, alias): (&str, &str),
    candidate: i32,
    plan: &RolloutPlan,
) -> Result<RolloutId, Error> {
    check(plan).map_err(|reason| Error::NoRollout { reason })?;
    servable(catalog, model, candidate).await?;
    let Some(named) = catalog.model_alias(model, alias).await? else {
        return Err(Error::UnknownAlias { model: model.to_owned(), alias: alias.to_owned() });
    };
    if named.version == candidate {
        let reason = format!("{alias} of `{model}` names version {candidate} already");
        return Err(Error::NoRollout { reason });
    }
    if let Some(reason) = other_outputs(catalog, model, (named.version, candidate)).await? {
        return Err(Error::NoRollout { reason });
    }
    let id = RolloutId::generate();
    let mut tx = catalog.store().begin().await?;
    if !catalog.begin_rollout(&mut tx, id, (model, alias), (named.version, candidate), plan).await? {
        return Err(under_way(catalog, &mut tx, model, alias).await?);
    }
    catalog.close_rollback_incidents(&mut tx, model).await?;
    tx.commit().await?;
    tidemill_live::publish_or_later(catalog, online).await;
    Ok(id)
}

/// How the outputs of two versions differ: one reply may have rows of both. Their order counts, as in a tensor or a table.
async fn other_outputs(
    catalog: &Catalog,
    model: &str,
    (control, candidate): (i32, i32),
) -> Result<Option<String>, Error> {
    let of = async |version| {
        let registered = catalog.model_version(model, version).await?;
        let registered =
            registered.ok_or_else(|| Error::UnknownVersion { model: model.to_owned(), version })?;
        Ok::<_, Error>(registered.outputs)
    };
    let (present, new) = (of(control).await?, of(candidate).await?);
    if present.iter().eq(&new) {
        return Ok(None);
    }
    let told = |outputs| serde_json::to_string(outputs).unwrap_or_default();
    Ok(Some(format!(
        "version {candidate} of `{model}` gives {}, but version {control} gives {}",
        told(&new),
        told(&present)
    )))
}

/// Ends the rollout of an alias because its candidate is promoted by hand. Nothing to end is fine.
///
/// # Errors
/// [`Error::RolloutUnderWay`] if another version is on trial.
pub(crate) async fn end_by_promotion(
    catalog: &Catalog,
    tx: &mut Tx,
    (model, alias): (&str, &str),
    version: i32,
) -> Result<(), Error> {
    match catalog.candidate_of(tx, model, alias).await? {
        None => {}
        Some(candidate) if candidate == version => {
            catalog.end_rollout(tx, (model, alias), RolloutState::Promoted, "by hand").await?;
        }
        Some(_) => return Err(under_way(catalog, tx, model, alias).await?),
    }
    Ok(catalog.close_rollback_incidents(tx, model).await?)
}

async fn under_way(catalog: &Catalog, tx: &mut Tx, model: &str, alias: &str) -> Result<Error, Error> {
    let candidate = catalog.candidate_of(tx, model, alias).await?.unwrap_or_default();
    Ok(Error::RolloutUnderWay { model: model.to_owned(), alias: alias.to_owned(), candidate })
}

/// What comes next, by what both arms did in this step over all serving processes and what the `evidence` says.
pub fn decide(rollout: &Rollout, arms: &Arms, evidence: &Evidence, now: Time) -> Decision {
    let candidate = &arms.candidate;
    let bad = disaster(arms).or_else(|| evidence.against()).or_else(|| beyond(&rollout.plan, candidate));
    if let Some(bad) = bad {
        return Decision::RollBack(bad);
    }
    let (asked, wanted) = (candidate.entities, rollout.plan.entities_min);
    if asked < wanted {
        return Decision::Wait(format!(
            "{asked} of {wanted} entities have asked version {}",
            rollout.candidate
        ));
    }
    let seconds = i64::try_from(rollout.plan.every_seconds).unwrap_or(i64::MAX);
    let over =
        TimeDelta::try_seconds(seconds).and_then(|every| rollout.step_began_at.checked_add_signed(every));
    match over {
        Some(over) if over <= now => {}
        Some(over) => return Decision::Wait(format!("the step lasts until {}", over.to_rfc3339())),
        None => return Decision::Wait("the step does not end".to_owned()),
    }
    if (rollout.step as usize) + 1 < rollout.plan.steps.len() { Decision::Grow } else { Decision::Promote }
}

/// One sentence of figures for people: what an incident says of both versions.
pub fn figures_of(rollout: &Rollout, arms: &Arms) -> String {
    let of = |version: i32, tally: &Tally| {
        format!(
            "version {version}: {} of {} requests failed, p95 {} ms",
            tally.errors,
            tally.requests,
            milliseconds(&tally.latency, 0.95)
        )
    };
    format!("{}; {}", of(rollout.candidate, &arms.candidate), of(rollout.control, &arms.control))
}

/// The first limit of the plan that the candidate is beyond.
fn beyond(plan: &RolloutPlan, candidate: &Tally) -> Option<String> {
    if candidate.requests < LIMITED_MIN {
        return None;
    }
    let (rate, p95) = (candidate.error_rate(), milliseconds(&candidate.latency, 0.95));
    let rate_beyond = plan.error_rate_max.filter(|max| rate > *max);
    let slow = plan.p95_ms_max.filter(|max| p95 > *max);
    rate_beyond
        .map(|max| format!("{:.1} % of its requests fail, more than {:.1} %", rate * 100.0, max * 100.0))
        .or_else(|| slow.map(|max| format!("its p95 is {p95} ms, more than {max} ms")))
}

fn check(plan: &RolloutPlan) -> Result<(), String> {
    let shares = plan.steps.iter().all(|percent| (1..100).contains(percent));
    let grow = plan.steps.windows(2).all(|pair| pair[0] < pair[1]);
    if plan.steps.is_empty() || plan.steps.len() > STEPS_MAX || !shares || !grow {
        return Err(format!(
            "the steps are {:?}: give 1 to {STEPS_MAX} growing shares of 1 to 99 percent; the promotion follows the last",
            plan.steps
        ));
    }
    let wrong = |limit: Option<f64>| limit.is_some_and(|limit| !limit.is_finite() || limit < 0.0);
    if wrong(plan.error_rate_max) || wrong(plan.p95_ms_max) {
        return Err("a limit is not a number from 0 on".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(step: u32) -> Rollout {
        Rollout {
            id: RolloutId::generate(),
            model: "late".into(),
            alias: "champion".into(),
            control: 2,
            candidate: 3,
            plan: RolloutPlan {
                steps: vec![10, 50],
                every_seconds: 60,
                entities_min: 100,
                error_rate_max: Some(0.02),
                p95_ms_max: Some(20.0),
            },
            step,
            step_began_at: Time::UNIX_EPOCH,
            state: RolloutState::Running,
            reason: String::new(),
            began_at: Time::UNIX_EPOCH,
            ended_at: None,
        }
    }

    fn arms(requests: u64, errors: u64, seconds: f64) -> Arms {
        let mut arms = Arms::default();
        (arms.candidate.requests, arms.candidate.entities, arms.candidate.errors) =
            (requests, requests, errors);
        for _ in 0..requests {
            arms.candidate.latency.observe(seconds);
        }
        arms
    }

    fn at(seconds: i64) -> Time {
        Time::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn decided(step: u32, arms: &Arms, seconds: i64) -> Decision {
        decide(&rollout(step), arms, &Evidence::default(), at(seconds))
    }

    #[test]
    fn a_step_ends_once_enough_have_asked_and_its_time_is_over() {
        let few = decided(0, &arms(99, 0, 0.01), 600);
        assert_eq!(few, Decision::Wait("99 of 100 entities have asked version 3".to_owned()));
        let early = decided(0, &arms(100, 0, 0.01), 59);
        assert_eq!(early, Decision::Wait("the step lasts until 1970-01-01T00:01:00+00:00".to_owned()));
        assert_eq!(decided(0, &arms(100, 0, 0.01), 60), Decision::Grow);
        assert_eq!(decided(1, &arms(100, 0, 0.01), 60), Decision::Promote);
    }

    #[test]
    fn what_is_beyond_a_limit_is_rolled_back_whatever_the_time() {
        let failing = decided(0, &arms(200, 6, 0.01), 1);
        assert_eq!(failing, Decision::RollBack("3.0 % of its requests fail, more than 2.0 %".to_owned()));
        let Decision::RollBack(slow) = decided(1, &arms(200, 0, 0.05), 600) else { panic!() };
        assert!(slow.starts_with("its p95 is ") && slow.ends_with("more than 20 ms"), "{slow}");
        // Too few to say.
        assert!(matches!(decided(0, &arms(99, 9, 0.05), 1), Decision::Wait(_)));
    }

    #[test]
    fn shares_grow_below_a_hundred() {
        let with = |steps: &[u32]| check(&RolloutPlan { steps: steps.to_vec(), ..rollout(0).plan });
        assert_eq!(with(&[1, 10, 99]), Ok(()));
        for steps in [&[][..], &[10, 10], &[50, 10], &[0], &[10, 100]] {
            assert!(with(steps).unwrap_err().contains("growing shares"), "{steps:?}");
        }
    }
}
