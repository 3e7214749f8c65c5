//! One request: answered by the version that it names, or, while a rollout is under way, each entity by the one that its hash
//! chooses.
//!
//! Whatever the candidate can't answer, the control does: a version on trial costs callers time, not answers. It may take
//! half of the time that is left. Requests that name a version are not split.

use std::{sync::Arc, time::Duration};

use tidemill_core::RequestId;
use tidemill_online::{LiveSet, LiveSplit};
use tokio::time::Instant;

use crate::{
    Error,
    ask::{Absent, Answer, Ask, Prediction, requests, rows, some_answered},
    measure::{Arm, Observed, Stages, Trial},
    predict::Predictor,
    warm::{DEFAULT_ALIAS, Loaded, Which},
};

/// How one request is split.
pub(crate) struct Arms {
    split: LiveSplit,
    /// What stands for each entity.
    hashes: Vec<u64>,
    /// Entities of the candidate, then those of the control, by their place in the request.
    candidate: Vec<usize>,
    control: Vec<usize>,
}

impl Arms {
    /// How a request is split between the version that it names, `control`, and a candidate; `None` where nothing is on
    /// trial. A request that can't be read is the control's to refuse.
    pub(crate) fn of(live: &LiveSet, ask: &Ask, control: &Loaded) -> Option<Self> {
        let alias = match &ask.which {
            Which::Champion => DEFAULT_ALIAS,
            Which::Alias(alias) => alias,
            Which::Version(_) => return None,
        };
        let split = live.models.get(&ask.model)?.splits.get(alias)?.clone();
        let keys = rows(&ask.entities, &control.live.keys, &ask.model, |_| Absent::Refused).ok()?;
        requests(ask, &control.live).ok()?;
        let hashes: Vec<u64> = keys.iter().map(|keys| split.hash(&ask.model, keys.values())).collect();
        let (candidate, control) = (0..keys.len()).partition(|entity| split.takes(hashes[*entity]));
        Some(Self { split, hashes, candidate, control })
    }

    fn trial(&self, arm: Arm, entities: &[usize], limit: Duration) -> Trial {
        let entities = entities.iter().map(|entity| self.hashes[*entity]).collect();
        Trial { split: self.split.clone(), arm, entities, limit }
    }
}

impl Predictor {
    /// Answers one request: by the version that it names, or each entity by its arm of a rollout.
    pub(crate) async fn predict(&self, ask: Ask) -> Result<Answer, Error> {
        let (started, request) = (Instant::now(), RequestId::generate());
        let resolved = self.resolve(&ask.model, &ask.which);
        let (live, loaded) =
            resolved.inspect_err(|error| self.unresolved(&ask, error, request, started.elapsed()))?;
        let own = started + self.deadline;
        let deadline = ask.deadline.map_or(own, |callers| callers.min(own));
        let arms = self.check_size(&ask).ok().and_then(|()| Arms::of(&live, &ask, &loaded));
        let answer = match arms {
            Some(arms) => self.predict_in_arms(&ask, &live, &loaded, arms, (deadline, request)).await?,
            None => self.predict_with(&ask, &live, &loaded, (deadline, request), None).await?,
        };
        some_answered(answer)
    }

    /// Answers each entity by its arm.
    pub(crate) async fn predict_in_arms(
        &self,
        ask: &Ask,
        live: &LiveSet,
        control: &Loaded,
        arms: Arms,
        (deadline, request): (Instant, RequestId),
    ) -> Result<Answer, Error> {
        let candidate = self.candidate(&ask.model, &arms.split);
        let mut slots: Vec<Option<Prediction>> = (0..ask.entities.len()).map(|_| None).collect();
        let now = Instant::now();
        let limit = deadline.saturating_duration_since(now) / 2;
        let half = now + limit;
        let theirs = async {
            if arms.candidate.is_empty() {
                return None;
            }
            let trial = arms.trial(Arm::Candidate, &arms.candidate, limit);
            let candidate = match candidate {
                Ok(candidate) => candidate?,
                Err(down) => {
                    self.not_asked(&ask.model, &down, &trial);
                    return None;
                }
            };
            self.predict_with(&ask.part(&arms.candidate), live, &candidate, (half, request), Some(&trial))
                .await
                .ok()
        };
        let ours = async {
            if arms.control.is_empty() {
                return Ok(None);
            }
            let trial = arms.trial(Arm::Control, &arms.control, limit);
            self.predict_with(&ask.part(&arms.control), live, control, (deadline, request), Some(&trial))
                .await
                .map(Some)
        };
        let (theirs, ours) = tokio::join!(theirs, ours);
        let mut answered_at = None;
        for (answer, entities) in [(theirs, &arms.candidate), (ours?, &arms.control)] {
            let Some(answer) = answer else { continue };
            answered_at = Some(answer.now);
            for (entity, one) in entities.iter().zip(answer.predictions) {
                slots[*entity] = Some(one.of(*entity));
            }
        }
        let unanswered = |entity: &&usize| slots[**entity].as_ref().is_none_or(|one| one.outputs.is_err());
        let fallen: Vec<usize> = arms.candidate.iter().filter(unanswered).copied().collect();
        if !fallen.is_empty() {
            self.metrics.fell_back(&ask.model, arms.split.candidate, fallen.len());
            self.measure.fell_back(&arms.split, fallen.len());
            // Of no arm: who comes here was chosen by the candidate's failure, not by the hash.
            let answer =
                self.predict_with(&ask.part(&fallen), live, control, (deadline, request), None).await?;
            answered_at = Some(answer.now);
            for (entity, one) in fallen.iter().zip(answer.predictions) {
                slots[*entity] = Some(one.of(*entity));
            }
        }
        let predictions: Vec<Prediction> = slots.into_iter().flatten().collect();
        let only = predictions.first().map(|first| first.version);
        let only = only.filter(|version| predictions.iter().all(|one| one.version == *version));
        Ok(Answer {
            model: ask.model.clone(),
            version: only.unwrap_or(control.version),
            now: answered_at.unwrap_or_else(|| live.clock.at(self.clock.now())),
            predictions,
        })
    }

    /// The version on trial; none while it is loaded for the first time, and why it doesn't answer if it fails.
    fn candidate(&self, model: &str, split: &LiveSplit) -> Result<Option<Arc<Loaded>>, Error> {
        let (state, name) = (self.warm.state(), (model.to_owned(), split.candidate));
        let (loaded, failed) = (state.loaded.get(&name), state.failures.get(&name).cloned());
        let down = match loaded {
            Some(loaded) => loaded.pool.down(),
            None => failed,
        };
        match down {
            Some(reason) => {
                Err(Error::NotLoaded { model: name.0, version: split.candidate, reason: Some(reason) })
            }
            None => Ok(loaded.cloned()),
        }
    }

    /// Counts what the candidate could not be asked as failed by it: one that is down is no good candidate.
    fn not_asked(&self, model: &str, down: &Error, trial: &Trial) {
        let version = trial.split.candidate;
        let (took, stages) = (Duration::ZERO, Stages::default());
        let observed = Observed { model, version, took, stages, answer: Err(down) };
        self.measure.observe(&*self.clock, &observed, Some(trial));
    }
}

impl Ask {
    /// The same question for some of its entities.
    fn part(&self, entities: &[usize]) -> Self {
        let of = |rows: &[serde_json::Map<String, serde_json::Value>]| {
            entities.iter().filter_map(|entity| rows.get(*entity).cloned()).collect()
        };
        Self {
            model: self.model.clone(),
            which: self.which.clone(),
            entities: of(&self.entities),
            request: of(&self.request),
            want_features: self.want_features,
            deadline: self.deadline,
        }
    }
}

impl Prediction {
    /// Its error, if it is one, names the entity by its place in the whole request.
    fn of(mut self, place: usize) -> Self {
        if let Err(
            Error::Missing { entity, .. } | Error::Unreadable { entity, .. } | Error::Unusable { entity, .. },
        ) = &mut self.outputs
        {
            *entity = place;
        }
        self
    }
}
