//! What is asked and what is answered, whoever answers it; JSON objects as typed rows.

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use tidemill_core::{PredictionId, Time};
use tidemill_inference::Outputs;
use tidemill_online::LiveModelVersion;
use tidemill_rows::Row;
use tidemill_spec::{Type, Value};
use tokio::time::Instant;

use crate::{Error, hydrate::Hydrated, warm::Which};

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
    pub(crate) fn failed(&self) -> Option<&Error> {
        let answered = self.predictions.iter().any(|one| one.outputs.is_ok());
        self.predictions.first().filter(|_| !answered).and_then(|first| first.outputs.as_ref().err())
    }
}

/// A request of which no entity has an answer fails as its first entity does.
pub(crate) fn some_answered(mut answer: Answer) -> Result<Answer, Error> {
    match answer.failed() {
        None => Ok(answer),
        Some(_) => Err(answer.predictions.swap_remove(0).outputs.err().unwrap_or(Error::NoLiveSet)),
    }
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
pub(crate) fn nullable(live: &LiveModelVersion, name: &str) -> bool {
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

#[cfg(test)]
mod doors;
