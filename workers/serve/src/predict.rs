//! One request: which version, which entities, their features, the model, the reply. The doors only convert.

use std::{sync::Arc, time::Duration};

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use tidemill_core::{Clock, PredictionId, Time};
use tidemill_inference::{Outputs, outputs_of};
use tidemill_online::{LiveSet, Online};
use tidemill_rows::Row;
use tidemill_spec::{Type, Value};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{
    Error,
    hydrate::{Hydrated, hydrate},
    metrics::Metrics,
    warm::{Loaded, Warm},
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

/// Which version shall answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Which {
    #[default]
    Champion,
    Version(u32),
    Alias(String),
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) model: String,
    pub(crate) version: u32,
    pub(crate) predictions: Vec<Prediction>,
    /// What the data clock showed.
    pub(crate) now: Time,
}

/// The answer for one entity.
#[derive(Debug)]
pub(crate) struct Prediction {
    pub(crate) id: PredictionId,
    /// What the model says, or why it wasn't asked: then the other entities have their answers all the same.
    pub(crate) outputs: Result<Outputs, Error>,
    pub(crate) hydrated: Hydrated,
    /// The vector by column, if asked for.
    pub(crate) features: Option<Row>,
}

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Predictor {
    pub(crate) live: watch::Receiver<Option<Arc<LiveSet>>>,
    pub(crate) warm: Arc<Warm>,
    pub(crate) online: Online,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) deadline: Duration,
    pub(crate) entities_max: usize,
}

impl Predictor {
    /// Answers one request, and counts it under the version that it was for.
    pub(crate) async fn predict(&self, ask: Ask) -> Result<Answer, Error> {
        let started = Instant::now();
        let (live, loaded) =
            self.resolve(&ask).inspect_err(|error| self.metrics.unresolved(&code_of(error)))?;
        let entities = ask.entities.len();
        let own = started + self.deadline;
        let deadline = ask.deadline.map_or(own, |callers| callers.min(own));
        let late = Err(Error::Inference(tidemill_inference::Error::Deadline));
        let answer = timeout_at(deadline, self.answer(ask, &live, &loaded, deadline)).await.unwrap_or(late);
        let code = answer.as_ref().err().map_or_else(|| "ok".to_owned(), code_of);
        self.metrics.request(&loaded.model, loaded.version, entities, started.elapsed(), &code);
        answer
    }

    /// What is missing before requests can be answered; empty when ready. Ready with no models if none is live.
    pub(crate) async fn unready(&self) -> Vec<String> {
        let live = self.live.borrow().clone();
        if let Some(live) = live {
            return self.warm.missing(&live);
        }
        match self.online.live().await {
            Ok(None) => Vec::new(),
            Ok(Some(_)) => vec!["live set: being read".to_owned()],
            Err(error) => vec![format!("live set: {error}")],
        }
    }

    fn resolve(&self, ask: &Ask) -> Result<(Arc<LiveSet>, Arc<Loaded>), Error> {
        let live = self.live.borrow().clone().ok_or(Error::NoLiveSet)?;
        let loaded = self.warm.resolve(&live, &ask.model, &ask.which)?;
        Ok((live, loaded))
    }

    async fn answer(
        &self,
        ask: Ask,
        live: &LiveSet,
        loaded: &Loaded,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        self.check_size(&ask)?;
        let keys = rows(&ask.entities, &loaded.keys, &ask.model)?;
        let given = requests(&ask, &loaded.live.request)?;
        let now = live.clock.at(self.clock.now());
        let mut hydrated = hydrate(&self.online, live, &loaded.live, &keys, now).await?;
        for (one, given) in hydrated.iter_mut().zip(given) {
            one.row.extend(given);
        }
        self.count_views(&hydrated);
        let vectors: Vec<Row> = hydrated.iter().map(|one| vector(&one.row, loaded)).collect();
        let complete: Vec<Result<(), Error>> = vectors
            .iter()
            .enumerate()
            .map(
                |(entity, vector)| {
                    if loaded.live.fail_on_missing { complete(entity, vector) } else { Ok(()) }
                },
            )
            .collect();
        let mut outputs = predicted(&vectors, &complete, loaded, deadline).await?.into_iter();
        let answers =
            complete.into_iter().map(|complete| complete.map(|()| outputs.next().unwrap_or_default()));
        let answers: Vec<Result<Outputs, Error>> = answers.collect();
        let predictions = answers.into_iter().zip(hydrated).zip(vectors);
        let predictions = predictions.map(|((outputs, hydrated), vector)| Prediction {
            id: PredictionId::generate(),
            outputs,
            hydrated,
            features: ask.want_features.then_some(vector),
        });
        Ok(Answer { predictions: predictions.collect(), model: ask.model, version: loaded.version, now })
    }

    fn check_size(&self, ask: &Ask) -> Result<(), Error> {
        let malformed = |problem: String| Err(Error::Malformed(problem));
        match (ask.entities.len(), ask.request.len()) {
            (0, _) => malformed("`entities` is empty; give the key columns of at least one".to_owned()),
            (entities, _) if entities > self.entities_max => {
                malformed(format!("{entities} entities; at most {} a request", self.entities_max))
            }
            (entities, request) if request != 0 && request != entities => {
                malformed(format!("{entities} entities, but {request} in `request`"))
            }
            _ => Ok(()),
        }
    }

    fn count_views(&self, hydrated: &[Hydrated]) {
        for view in hydrated.iter().flat_map(|one| &one.views) {
            self.metrics.view(&view.view, view.status.as_str());
        }
    }
}

/// What metrics call an error: its code.
fn code_of(error: &Error) -> String {
    error.fault().code.map_or_else(|| "error".to_owned(), |code| code.to_string())
}

fn requests(ask: &Ask, columns: &IndexMap<String, Type>) -> Result<Vec<Row>, Error> {
    if ask.request.is_empty() && columns.is_empty() {
        return Ok(vec![Row::new(); ask.entities.len()]);
    }
    let empty = vec![Map::new(); ask.entities.len()];
    rows(if ask.request.is_empty() { &empty } else { &ask.request }, columns, &ask.model)
}

/// JSON objects as typed rows: every column given, none unknown, none of another type.
fn rows(
    given: &[Map<String, Json>],
    columns: &IndexMap<String, Type>,
    model: &str,
) -> Result<Vec<Row>, Error> {
    given.iter().enumerate().map(|(entity, given)| row(entity, given, columns, model)).collect()
}

fn row(
    entity: usize,
    given: &Map<String, Json>,
    columns: &IndexMap<String, Type>,
    model: &str,
) -> Result<Row, Error> {
    let wrong = |problem: String| {
        let takes: Vec<String> = columns.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
        Error::Columns { entity, problem, model: model.to_owned(), takes: takes.join(", ") }
    };
    if let Some(unknown) = given.keys().find(|name| !columns.contains_key(*name)) {
        return Err(wrong(format!("unknown column `{unknown}`")));
    }
    let typed = |(name, ty): (&String, &Type)| {
        let json = given.get(name).filter(|json| !json.is_null());
        let json = json.ok_or_else(|| wrong(format!("`{name}` is missing")))?;
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

/// What the model says of the vectors that are complete. Where none is, the request fails as the first does.
async fn predicted(
    vectors: &[Row],
    complete: &[Result<(), Error>],
    loaded: &Loaded,
    deadline: Instant,
) -> Result<Vec<Outputs>, Error> {
    let asked = vectors.iter().zip(complete).filter(|(_, complete)| complete.is_ok());
    let asked: Vec<Row> = asked.map(|(vector, _)| vector.clone()).collect();
    if let (true, Some(Err(Error::Missing { entity, columns }))) = (asked.is_empty(), complete.first()) {
        return Err(Error::Missing { entity: *entity, columns: columns.clone() });
    }
    let batch = loaded.pool.signature().vectorise(&asked)?;
    let left = deadline.saturating_duration_since(Instant::now());
    let outputs = loaded.pool.predict(batch, left).await?;
    Ok(outputs_of(&outputs, &loaded.pool.signature().outputs)?)
}

/// For `on_missing: fail`.
fn complete(entity: usize, vector: &Row) -> Result<(), Error> {
    let nulls = vector.iter().filter(|(_, value)| value.is_null());
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
        let columns = [("carrier".to_owned(), Type::String), ("flight".to_owned(), Type::Int)].into();
        let given = given.as_object().unwrap().clone();
        let told = match rows(&[given], &columns, "late") {
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
}
