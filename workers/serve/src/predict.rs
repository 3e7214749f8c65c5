//! One request: which version, which entities, their features, the model, the reply. The doors only convert.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use tidemill_core::{Clock, PredictionId, RequestId, Time};
use tidemill_expressions::{Evaluator, batch};
use tidemill_inference::{Outputs, unusable};
use tidemill_online::{LiveModelVersion, LiveSet, Online, Seen};
use tidemill_rows::{Row, value_at};
use tidemill_spec::{OnDemand, Type, Value};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{
    Error,
    arms::Arms,
    failure::{log, told},
    hydrate::{Hydrated, hydrate},
    measure::{Measure, Observed, Stages, Trial},
    metrics::Metrics,
    prediction_log::{Asked, PredictionLogger},
    readiness::{AliasState, Readiness, alias_state, readiness},
    warm::{DEFAULT_ALIAS, Loaded, Warm, Which},
};

/// What to predict.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) model: String,
    pub(crate) which: Which,
    /// Key columns of each entity.
    pub(crate) entities: Vec<Map<String, Json>>,
    /// Columns that only the caller knows, for each entity; or empty.
    pub(crate) request: Vec<Map<String, Json>>,
    pub(crate) want_features: bool,
    /// The caller's own deadline, where it set one.
    pub(crate) deadline: Option<Instant>,
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) model: String,
    /// The version that answered; where a rollout had two answer, the one that the alias names.
    pub(crate) version: u32,
    pub(crate) predictions: Vec<Prediction>,
    /// What the data clock showed.
    pub(crate) now: Time,
}

/// The answer for one entity.
#[derive(Debug)]
pub(crate) struct Prediction {
    pub(crate) id: PredictionId,
    /// The version that answered.
    pub(crate) version: u32,
    /// What the model says, or why it wasn't asked: then the other entities have their answers all the same.
    pub(crate) outputs: Result<Outputs, Error>,
    pub(crate) hydrated: Hydrated,
    /// The vector by column, if asked for.
    pub(crate) features: Option<Row>,
}

impl Answer {
    /// Why no entity has an answer; `None` if one has.
    fn failed(&self) -> Option<&Error> {
        let answered = self.predictions.iter().any(|one| one.outputs.is_ok());
        self.predictions.first().filter(|_| !answered).and_then(|first| first.outputs.as_ref().err())
    }
}

/// A request of which no entity has an answer fails as its first entity does.
fn some_answered(mut answer: Answer) -> Result<Answer, Error> {
    match answer.failed() {
        None => Ok(answer),
        Some(_) => Err(answer.predictions.swap_remove(0).outputs.err().unwrap_or(Error::NoLiveSet)),
    }
}

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
    fn unresolved(&self, ask: &Ask, error: &Error, request: RequestId, took: Duration) {
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

    fn check_size(&self, ask: &Ask) -> Result<(), Error> {
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
}

/// What metrics call an error: its code.
pub(crate) fn code_of(error: &Error) -> String {
    error.fault().code.map_or_else(|| "error".to_owned(), |code| code.to_string())
}

/// What a column that is left out, or null, comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    Refused,
    Null,
}

/// What only the caller knows: what may be null, may be left out.
pub(crate) fn requests(ask: &Ask, live: &LiveModelVersion) -> Result<Vec<Row>, Error> {
    if ask.request.is_empty() && live.request.is_empty() {
        return Ok(vec![Row::new(); ask.entities.len()]);
    }
    let empty = vec![Map::new(); ask.entities.len()];
    let given = if ask.request.is_empty() { &empty } else { &ask.request };
    let absent = |name: &str| if nullable(live, name) { Absent::Null } else { Absent::Refused };
    rows(given, &live.request, &ask.model, absent)
}

/// Whether a column of a request may be null.
fn nullable(live: &LiveModelVersion, name: &str) -> bool {
    match &live.nullable {
        Some(nullable) => nullable.iter().any(|column| column == name),
        None => !live.fail_on_missing,
    }
}

/// JSON objects as typed rows: none unknown, none of another type.
pub(crate) fn rows(
    given: &[Map<String, Json>],
    columns: &IndexMap<String, Type>,
    model: &str,
    absent: impl Fn(&str) -> Absent,
) -> Result<Vec<Row>, Error> {
    given.iter().enumerate().map(|(entity, given)| row(entity, given, columns, model, &absent)).collect()
}

fn row(
    entity: usize,
    given: &Map<String, Json>,
    columns: &IndexMap<String, Type>,
    model: &str,
    absent: impl Fn(&str) -> Absent,
) -> Result<Row, Error> {
    let wrong = |problem: String| {
        let takes: Vec<String> = columns.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
        Error::Columns { entity, problem, model: model.to_owned(), takes: takes.join(", ") }
    };
    if let Some(unknown) = given.keys().find(|name| !columns.contains_key(*name)) {
        return Err(wrong(format!("unknown column `{unknown}`")));
    }
    let typed = |(name, ty): (&String, &Type)| {
        let Some(json) = given.get(name).filter(|json| !json.is_null()) else {
            return match absent(name) {
                Absent::Null => Ok((name.clone(), Value::Null)),
                Absent::Refused => Err(wrong(format!("`{name}` is missing"))),
            };
        };
        let value = Value::from_json(json, *ty).map_err(|error| Error::WrongType {
            entity,
            column: name.clone(),
            problem: error.to_string(),
        })?;
        Ok((name.clone(), value))
    };
    columns.iter().map(typed).collect()
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

#[cfg(test)]
mod doors;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(given: &Json, expected: &str) {
        check_with(given, Absent::Refused, expected);
    }

    #[track_caller]
    fn check_with(given: &Json, absent: Absent, expected: &str) {
        let columns = [("carrier".to_owned(), Type::String), ("flight".to_owned(), Type::Int)].into();
        let given = given.as_object().unwrap().clone();
        let told = match rows(&[given], &columns, "late", |_| absent) {
            Ok(rows) => format!("{:?}", rows[0]),
            Err(error) => error.fault().to_string(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn keys_are_named_and_typed() {
        let takes = "`late` takes carrier: string, flight: int";
        check(&json!({"carrier": "UA", "flight": 1}), r#"{"carrier": String("UA"), "flight": Int(1)}"#);
        check(&json!({"carrier": "UA"}), &format!("[TM0832] entity 0: `flight` is missing; {takes}"));
        check(
            &json!({"carrier": "UA", "flight": null}),
            &format!("[TM0832] entity 0: `flight` is missing; {takes}"),
        );
        check(
            &json!({"carrier": "UA", "flight": 1, "day": 2}),
            &format!("[TM0832] entity 0: unknown column `day`; {takes}"),
        );
        check(
            &json!({"carrier": "UA", "flight": "x"}),
            "[TM0833] entity 0: `flight`: expected int, got \"x\"",
        );
    }

    #[test]
    fn what_may_be_null_may_be_left_out() {
        for given in [json!({"carrier": "UA"}), json!({"carrier": "UA", "flight": null})] {
            check_with(&given, Absent::Null, r#"{"carrier": String("UA"), "flight": Null}"#);
        }
    }
}
