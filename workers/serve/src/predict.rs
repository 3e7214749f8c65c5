//! One version answers: which entities, their features, the model, the reply. Who is asked is chosen in `arms`; the doors only
//! convert.

use std::{sync::Arc, time::Duration};

use tidemill_core::{Clock, PredictionId, RequestId};
use tidemill_expressions::{Evaluator, batch};
use tidemill_inference::{Error as Inference, Outputs, unusable};
use tidemill_online::{LiveModelVersion, LiveSet, Online, Seen, measured::VersionStats};
use tidemill_rows::{Row, value_at};
use tidemill_spec::{OnDemand, Value};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    Error,
    ask::{Absent, Answer, Ask, Prediction, nullable, requests, rows},
    failure::{log, told},
    hydrate::{Hydrated, hydrate},
    measure::{Measure, Observed, Stages, Trial},
    metrics::Metrics,
    prediction_log::{Asked, PredictionLogger},
    readiness::{AliasState, Readiness, alias_state, readiness},
    warm::{DEFAULT_ALIAS, Loaded, Warm, Which},
};

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Predictor {
    pub(crate) seen: watch::Receiver<Seen>,
    pub(crate) warm: Arc<Warm>,
    pub(crate) online: Online,
    pub(crate) evaluator: Evaluator,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) log: PredictionLogger,
    pub(crate) measure: Measure,
    pub(crate) deadline: Duration,
    pub(crate) entities_max: usize,
}

impl Predictor {
    /// Answers by one version, and counts it under that; `trial`: the arm of a rollout that it is asked as.
    pub(crate) async fn predict_with(
        &self,
        ask: &Ask,
        live: &LiveSet,
        loaded: &Loaded,
        (deadline, request): (Instant, RequestId),
        trial: Option<&Trial>,
    ) -> Result<Answer, Error> {
        let (started, entities) = (Instant::now(), ask.entities.len());
        let late = Err(Error::Inference(tidemill_inference::Error::Deadline));
        let mut stages = Stages::default();
        let answer = self.answer(ask, live, loaded, deadline, request, &mut stages);
        let answer = timeout_at(deadline, answer).await.unwrap_or(late);
        let mut answer = answer.map_err(|error| told(error, loaded, request));
        let took = started.elapsed();
        let code = answer.as_ref().map_or_else(Some, Answer::failed).map_or_else(|| "ok".to_owned(), code_of);
        self.metrics.request(&loaded.model, loaded.version, entities, took, &code);
        let predictions = answer.as_ref().map(|answer| answer.predictions.as_slice());
        let (model, version) = (&loaded.model, loaded.version);
        let observed = Observed { model, version, took, stages, answer: predictions };
        self.measure.observe(&*self.clock, &observed, trial);
        self.log.answered(Asked { ask, live, request, took }, loaded, &mut answer);
        answer
    }

    /// Whether requests can be answered, and what is missing.
    pub(crate) fn readiness(&self) -> Readiness {
        let mut readiness = readiness(&self.seen.borrow(), &self.warm.state());
        readiness.problems.extend(self.log.problems());
        readiness
    }

    /// Why a model's default alias doesn't answer; `None` if it does.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], [`Error::UnknownAlias`], [`Error::NoLiveSet`].
    pub(crate) fn model_readiness(&self, model: &str) -> Result<Option<String>, Error> {
        let seen = self.seen.borrow();
        let live = seen.live().ok_or(Error::NoLiveSet)?;
        // What names nothing is told apart from what is not loaded.
        match self.warm.resolve(live, model, &Which::Champion) {
            Ok(_) | Err(Error::NotLoaded { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(match alias_state(&seen, live, &self.warm.state(), model, DEFAULT_ALIAS) {
            AliasState::Answers | AliasState::Behind { .. } => None,
            AliasState::Loading => Some("loading".to_owned()),
            AliasState::Fails(reason) => Some(reason),
        })
    }

    /// The version that answers.
    pub(crate) fn resolve(&self, model: &str, which: &Which) -> Result<(Arc<LiveSet>, Arc<Loaded>), Error> {
        let live = self.seen.borrow().live().cloned().ok_or(Error::NoLiveSet)?;
        let loaded = self.warm.resolve(&live, model, which)?;
        Ok((live, loaded))
    }

    /// That nothing answers a request is counted and logged.
    pub(crate) fn unresolved(&self, ask: &Ask, error: &Error, request: RequestId, took: Duration) {
        self.metrics.unresolved(&code_of(error));
        if let Some(live) = self.seen.borrow().live() {
            self.log.unresolved(Asked { ask, live, request, took }, error);
        }
    }

    async fn answer(
        &self,
        ask: &Ask,
        live: &LiveSet,
        loaded: &Loaded,
        deadline: Instant,
        request: RequestId,
        stages: &mut Stages,
    ) -> Result<Answer, Error> {
        let started = Instant::now();
        self.check_size(ask)?;
        let keys = rows(&ask.entities, &loaded.live.keys, &ask.model, |_| Absent::Refused)?;
        let given = requests(ask, &loaded.live)?;
        let (now, version) = (live.clock.at(self.clock.now()), &loaded.live);
        let limit = (now, deadline.saturating_duration_since(Instant::now()));
        let (hydration, views) = (&version.hydration, &version.views);
        let mut hydrated = hydrate(&self.online, &self.evaluator, hydration, views, &keys, limit).await?;
        for (one, given) in hydrated.iter_mut().zip(given) {
            one.row.extend(given);
        }
        self.compute(loaded, &mut hydrated, limit.1).await?;
        stages.hydrate = Some(started.elapsed());
        self.count_views(&hydrated);
        let vectors: Vec<Row> = hydrated.iter().map(|one| vector(&one.row, loaded)).collect();
        let mut known: Vec<Result<(), Error>> = Vec::new();
        for (entity, (one, vector)) in hydrated.iter_mut().zip(&vectors).enumerate() {
            known.push(match one.unreadable.take() {
                Some(source) => Err(unreadable(source, entity, loaded, request)),
                None if loaded.live.fail_on_missing => complete(entity, vector, &loaded.live),
                None => Ok(()),
            });
        }
        let asked = Instant::now();
        let outputs = predicted(&vectors, &known, loaded, deadline).await;
        stages.model = Some(asked.elapsed());
        let mut outputs = outputs?.into_iter();
        let answers = known.into_iter().enumerate().map(|(entity, known)| {
            known.and_then(|()| usable(outputs.next().unwrap_or_default(), entity, loaded, request))
        });
        let answers: Vec<Result<Outputs, Error>> = answers.collect();
        let predictions = answers.into_iter().zip(hydrated).zip(vectors);
        let predictions = predictions.map(|((outputs, hydrated), vector)| Prediction {
            id: PredictionId::generate(),
            version: loaded.version,
            outputs,
            hydrated,
            features: ask.want_features.then_some(vector),
        });
        Ok(Answer {
            predictions: predictions.collect(),
            model: loaded.model.clone(),
            version: loaded.version,
            now,
        })
    }

    /// Adds what the version computes from the rest of the row: one evaluation for all entities.
    async fn compute(&self, loaded: &Loaded, all: &mut [Hydrated], limit: Duration) -> Result<(), Error> {
        let Some(OnDemand { features, .. }) = &loaded.live.hydration.on_demand else { return Ok(()) };
        let rows = batch(&loaded.on_demand, all.iter().map(|one| &one.row))
            .map_err(|error| Error::OnDemand(error.into()))?;
        let computed = self.evaluator.evaluate(&loaded.on_demand, &rows, limit).await;
        let computed = computed.map_err(Error::OnDemand)?;
        for (row, one) in all.iter_mut().enumerate() {
            for ((name, feature), column) in features.iter().zip(computed.columns()) {
                let value = match (value_at(column, row), &feature.default) {
                    (Value::Null, Some(default)) => {
                        one.defaulted.push(name.clone());
                        default.clone()
                    }
                    (value, _) => value,
                };
                one.row.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    pub(crate) fn check_size(&self, ask: &Ask) -> Result<(), Error> {
        self.check_entities(ask.entities.len())?;
        match (ask.entities.len(), ask.request.len()) {
            (entities, request) if request != 0 && request != entities => {
                Err(Error::Malformed(format!("{entities} entities, but {request} in `request`")))
            }
            _ => Ok(()),
        }
    }

    /// Some entities, and not too many.
    pub(crate) fn check_entities(&self, entities: usize) -> Result<(), Error> {
        match entities {
            0 => {
                let problem = "`entities` is empty; give the key columns of at least one";
                Err(Error::Malformed(problem.to_owned()))
            }
            entities if entities > self.entities_max => {
                Err(Error::Malformed(format!("{entities} entities; at most {} a request", self.entities_max)))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn count_views(&self, hydrated: &[Hydrated]) {
        for view in hydrated.iter().flat_map(|one| &one.views) {
            self.metrics.view(&view.view, view.status.as_str());
        }
    }

    /// Writes how versions fare to Redis, as the serving process `id`.
    pub(crate) async fn write_figures(&self, id: &str) {
        let live = self.seen.borrow().live().cloned();
        self.measure.write(&self.online, id, live.as_deref(), &*self.clock).await;
    }

    /// How each version fares, over all serving processes.
    pub(crate) async fn stats(&self) -> Result<Vec<VersionStats>, Error> {
        let stats = self.online.stats(self.clock.now().timestamp());
        timeout(self.deadline, stats).await.map_err(|_| Inference::Deadline)?.map_err(Error::from)
    }
}

/// What metrics call an error: its code.
pub(crate) fn code_of(error: &Error) -> String {
    error.fault().code.map_or_else(|| "error".to_owned(), |code| code.to_string())
}

/// The model's columns of a row, in order.
fn vector(row: &Row, loaded: &Loaded) -> Row {
    let columns = loaded.pool.signature().columns.iter();
    columns
        .map(|column| (column.name.clone(), row.get(&column.name).cloned().unwrap_or(Value::Null)))
        .collect()
}

/// What the model says of the vectors that are known. It isn't asked where none is.
pub(crate) async fn predicted(
    vectors: &[Row],
    known: &[Result<(), Error>],
    loaded: &Loaded,
    deadline: Instant,
) -> Result<Vec<Outputs>, Error> {
    let asked = vectors.iter().zip(known).filter(|(_, known)| known.is_ok());
    let asked: Vec<&Row> = asked.map(|(vector, _)| vector).collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let left = deadline.saturating_duration_since(Instant::now());
    Ok(loaded.pool.predict_rows(&asked, left).await?)
}

/// What the model said of one entity, if that is a prediction at all.
pub(crate) fn usable(
    outputs: Outputs,
    entity: usize,
    loaded: &Loaded,
    request: RequestId,
) -> Result<Outputs, Error> {
    let Some((output, got)) = unusable(&outputs) else { return Ok(outputs) };
    let (model, version) = (loaded.model.clone(), loaded.version);
    let error = Error::Unusable { model, version, entity, output, got, request };
    log(&error.fault(), loaded, request);
    Err(error)
}

/// What Redis holds of one entity can't be read: it stays so until it is written again, so somebody should know.
fn unreadable(source: tidemill_online::Error, entity: usize, loaded: &Loaded, request: RequestId) -> Error {
    let error = Error::Unreadable { entity, source };
    log(&error.fault(), loaded, request);
    error
}

/// For `on_missing: fail`. What the caller may leave out is not missing.
pub(crate) fn complete(entity: usize, vector: &Row, live: &LiveModelVersion) -> Result<(), Error> {
    let given = |name: &String| live.request.contains_key(name) && nullable(live, name);
    let nulls = vector.iter().filter(|(name, value)| value.is_null() && !given(name));
    let columns: Vec<String> = nulls.map(|(name, _)| name.clone()).collect();
    if columns.is_empty() { Ok(()) } else { Err(Error::Missing { entity, columns }) }
}
