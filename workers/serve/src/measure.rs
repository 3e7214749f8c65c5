//! How versions fare in this process: kept in buckets of time, and for rollouts by arm; written to Redis every second.
//!
//! What is kept is bounded: an hour of buckets, and of each arm so many entities. One lock, held for the time of a few
//! counts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tidemill_core::{Clock, Fault};
use tidemill_inference::{Error as Inference, Output, Outputs};
use tidemill_online::{
    Arms, Figures, LiveSet, LiveSplit, Measured, Online, Tally,
    measured::{BUCKET_SECONDS, KEPT_SECONDS, bucket_of},
};
use tidemill_spec::Value;

use crate::{Error, ask::Prediction};

/// Entities of one step of a rollout that are told apart; those beyond are not counted as witnesses.
const WITNESSES_MAX: usize = 1_000_000;

/// How long the parts of one request took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stages {
    /// Reading features and computing what follows from them; `None` if it didn't come to that.
    pub(crate) hydrate: Option<Duration>,
    /// The model's answer, with the wait for a process.
    pub(crate) model: Option<Duration>,
}

/// Which side of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    Control,
    Candidate,
}

/// For whom an arm answers: the rollout, and what stands for each entity.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    pub(crate) split: LiveSplit,
    pub(crate) arm: Arm,
    /// One for each entity of the request.
    pub(crate) entities: Vec<u64>,
    /// How long the candidate may take. The control may take longer, but is judged by the same time.
    pub(crate) limit: Duration,
}

/// What came of a request, or of the part of it that one version was asked.
pub(crate) struct Observed<'o> {
    pub(crate) model: &'o str,
    pub(crate) version: u32,
    pub(crate) took: Duration,
    pub(crate) stages: Stages,
    pub(crate) answer: Result<&'o [Prediction], &'o Error>,
}

/// Everything that this process has measured and not forgotten.
#[derive(Debug, Default)]
pub(crate) struct Measure {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    buckets: BTreeMap<i64, HashMap<(String, u32), Figures>>,
    /// Buckets that changed since they were written.
    changed: BTreeSet<i64>,
    steps: HashMap<(String, u32), Step>,
}

/// One step of a rollout.
#[derive(Debug, Default)]
struct Step {
    arms: Arms,
    witnesses: HashSet<u64>,
    changed: bool,
}

impl Measure {
    /// Counts what came of a request.
    pub(crate) fn observe(&self, clock: &dyn Clock, observed: &Observed<'_>, trial: Option<&Trial>) {
        let mut kept = self.kept();
        let bucket = bucket_of(clock.now().timestamp());
        let versions = kept.buckets.entry(bucket).or_default();
        let figures = versions.entry((observed.model.to_owned(), observed.version)).or_default();
        count(figures, observed);
        kept.changed.insert(bucket);
        if let Some(trial) = trial {
            let step = (trial.split.rollout.clone(), trial.split.step);
            kept.steps.entry(step).or_default().count(observed, trial);
        }
    }

    /// Counts entities that the control answered because the candidate couldn't.
    pub(crate) fn fell_back(&self, split: &LiveSplit, entities: usize) {
        let mut kept = self.kept();
        let step = kept.steps.entry((split.rollout.clone(), split.step)).or_default();
        step.arms.candidate.fell_back += entities as u64;
        step.changed = true;
    }

    /// Writes what changed since it was written; what could not be written is written the next time. Forgets what is too
    /// old, and steps that are over once they are written. A Redis that lost what was there gets everything again.
    pub(crate) async fn write(&self, online: &Online, id: &str, live: Option<&LiveSet>, clock: &dyn Clock) {
        let now = clock.now().timestamp();
        // What is dropped in the middle stays marked as changed.
        let (buckets, steps) = self.changed(now);
        let written = async {
            if !online.has_figures(id).await? {
                self.all_changed();
                let (buckets, steps) = self.changed(now);
                return put(online, id, &buckets, &steps, now).await;
            }
            put(online, id, &buckets, &steps, now).await
        };
        match written.await {
            Ok(()) => self.written(&buckets, &steps, live),
            Err(error) => {
                tracing::debug!(reason = Fault::from_error(&error).message, "figures are not written yet");
            }
        }
    }

    fn changed(&self, now: i64) -> (Buckets, Steps) {
        let mut kept = self.kept();
        kept.buckets = kept.buckets.split_off(&bucket_of(now - KEPT_SECONDS - BUCKET_SECONDS));
        let changed = kept.buckets.iter().filter(|(bucket, _)| kept.changed.contains(*bucket));
        let measured = |((model, version), figures): (&(String, u32), &Figures)| Measured {
            model: model.clone(),
            version: *version,
            figures: figures.clone(),
        };
        let buckets = changed.map(|(bucket, versions)| (*bucket, versions.iter().map(measured).collect()));
        let steps = kept.steps.iter().filter(|(_, step)| step.changed);
        (buckets.collect(), steps.map(|(name, step)| (name.clone(), step.arms.clone())).collect())
    }

    fn all_changed(&self) {
        let mut kept = self.kept();
        kept.changed = kept.buckets.keys().copied().collect();
        for step in kept.steps.values_mut() {
            step.changed = true;
        }
    }

    /// What was written needn't be written again unless it went on meanwhile. Drops the steps of rollouts that no live split
    /// names; an earlier step of one that goes on is kept, for its last requests may still be under way.
    fn written(&self, buckets: &Buckets, steps: &Steps, live: Option<&LiveSet>) {
        let mut kept = self.kept();
        let Kept { buckets: now, changed, steps: known } = &mut *kept;
        let requests = |figures: &Figures| figures.requests;
        changed.retain(|bucket| {
            let total = |versions: &HashMap<_, Figures>| versions.values().map(requests).sum::<u64>();
            let written = buckets.get(bucket).map(|all| all.iter().map(|one| one.figures.requests).sum());
            now.get(bucket).is_some_and(|versions| written != Some(total(versions)))
        });
        for (name, arms) in steps {
            if let Some(step) = known.get_mut(name) {
                step.changed = step.arms != *arms;
            }
        }
        let Some(live) = live else { return };
        known.retain(|(rollout, _), kept| {
            let mut splits = live.models.values().flat_map(|model| model.splits.values());
            kept.changed || splits.any(|split| split.rollout == *rollout)
        });
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Buckets = BTreeMap<i64, Vec<Measured>>;
type Steps = Vec<((String, u32), Arms)>;

async fn put(
    online: &Online,
    id: &str,
    buckets: &Buckets,
    steps: &Steps,
    now: i64,
) -> Result<(), tidemill_online::Error> {
    online.put_figures(id, buckets, now).await?;
    for ((rollout, step), arms) in steps {
        online.put_arms(rollout, *step, id, arms).await?;
    }
    Ok(())
}

fn count(figures: &mut Figures, observed: &Observed<'_>) {
    figures.requests += 1;
    figures.whole.observe(observed.took.as_secs_f64());
    for (latencies, took) in
        [(&mut figures.hydrate, observed.stages.hydrate), (&mut figures.model, observed.stages.model)]
    {
        if let Some(took) = took {
            latencies.observe(took.as_secs_f64());
        }
    }
    match observed.answer {
        Ok(predictions) if predictions.iter().any(|one| one.outputs.is_ok()) => {
            let defaulted = predictions.iter().filter(|one| !one.hydrated.defaulted.is_empty());
            figures.entities += predictions.len() as u64;
            figures.defaulted += defaulted.count() as u64;
        }
        _ => figures.errors += 1,
    }
}

impl Step {
    fn count(&mut self, observed: &Observed<'_>, trial: &Trial) {
        if observed.answer.is_err_and(|error| !of_version(error)) {
            return;
        }
        self.changed = true;
        let tally = match trial.arm {
            Arm::Control => &mut self.arms.control,
            Arm::Candidate => &mut self.arms.candidate,
        };
        let seconds = observed.took.min(trial.limit).as_secs_f64();
        let answer = observed.answer.ok().filter(|_| observed.took < trial.limit);
        let failed = |one: &Prediction| one.outputs.as_ref().is_err_and(of_version);
        tally.requests += 1;
        tally.errors += u64::from(answer.is_none_or(|all| all.iter().any(failed)));
        tally.latency.observe(seconds);
        let mut first = true;
        for (entity, hash) in trial.entities.iter().enumerate() {
            if self.witnesses.len() >= WITNESSES_MAX || !self.witnesses.insert(*hash) {
                continue;
            }
            tally.entities += 1;
            // What a request has as a whole is no more for having many entities.
            if std::mem::take(&mut first) {
                tally.took.observe(seconds);
            }
            let Some(one) = answer.and_then(|all| all.get(entity)) else {
                tally.failed += 1;
                return;
            };
            tally.failed += u64::from(failed(one));
            tally.defaulted += u64::from(!one.hydrated.defaulted.is_empty());
            if let Ok(outputs) = &one.outputs {
                observe_output(tally, outputs);
            }
        }
    }
}

/// Counts the first output that is a number or one of some words.
fn observe_output(tally: &mut Tally, outputs: &Outputs) {
    for output in outputs.values() {
        match output {
            Output::Scalar(Value::Float(number)) => return tally.numbers.observe(*number),
            #[expect(clippy::cast_precision_loss, reason = "buckets are 5 % wide")]
            Output::Scalar(Value::Int(number)) => return tally.numbers.observe(*number as f64),
            Output::Scalar(value @ (Value::Bool(_) | Value::String(_))) => {
                return tally.label(&value.to_string());
            }
            Output::Class { label, .. } => return tally.label(label),
            _ => {}
        }
    }
}

/// Whether an error may be the doing of the version that was asked, and not of Redis or of the caller.
pub(crate) fn of_version(error: &Error) -> bool {
    match error {
        Error::Columns { .. }
        | Error::Missing { .. }
        | Error::NotLoaded { .. }
        | Error::OnDemand(_)
        | Error::Failed { .. }
        | Error::Unusable { .. } => true,
        // Values that the model can't take are the caller's.
        Error::Inference(error) => !matches!(error, Inference::Rows { .. }),
        Error::UnknownModel { .. }
        | Error::UnknownVersion { .. }
        | Error::UnknownAlias { .. }
        | Error::WrongType { .. }
        | Error::Malformed(_)
        | Error::Tensors(_)
        | Error::NoSuchCall(_)
        | Error::WrongMethod { .. }
        | Error::TooLarge { .. }
        | Error::NoLiveSet
        | Error::UnknownView { .. }
        | Error::UnknownFeature { .. }
        | Error::MissingKey { .. }
        | Error::Online(_)
        | Error::Values(_)
        | Error::Unreadable { .. } => false,
    }
}
