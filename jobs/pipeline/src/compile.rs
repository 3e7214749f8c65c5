//! A pipeline, its params and a day become a run of the engine. Pure.
//!
//! Nothing is evaluated here: expressions stay in the steps' args until each step starts, because they name outputs
//! that don't exist yet.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tidemill_core::{Calendar, Kind};
use tidemill_spec::{Pipeline, Step, steps};
use tidemill_store::NewStep;

use crate::{Error, PythonArgs};

/// User code without a `timeout` may take this long.
const PYTHON_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// The declared params with the given ones in their place. Text, as a command line has it, is read as the type of
/// the default.
///
/// # Errors
/// A param that isn't declared, or a value of another type than its default.
pub fn merge_params(pipeline: &Pipeline, given: &Map<String, Json>) -> Result<Map<String, Json>, Error> {
    let unknown = given.keys().find(|name| !pipeline.params.contains_key(*name));
    if let Some(param) = unknown {
        return Err(Error::UnknownParam {
            pipeline: pipeline.name.clone(),
            param: param.clone(),
            known: pipeline.params.keys().cloned().collect(),
        });
    }
    let merged = pipeline.params.iter().map(|(name, default)| match given.get(name) {
        None => Ok((name.clone(), default.clone())),
        Some(value) => conform(name, value, default).map(|value| (name.clone(), value)),
    });
    merged.collect()
}

fn conform(param: &str, value: &Json, default: &Json) -> Result<Json, Error> {
    let read = match (default, value) {
        (Json::Null | Json::String(_), Json::String(_)) => Some(value.clone()),
        (Json::Null, other) => Some(other.clone()),
        (Json::String(_), Json::Number(_) | Json::Bool(_)) => Some(value.to_string().into()),
        // Numbers, truths, lists and maps are written on a command line as they are in JSON.
        (_, Json::String(text)) => serde_json::from_str(text).ok(),
        (_, other) => Some(other.clone()),
    };
    read.filter(|value| default.is_null() || word(value) == word(default)).ok_or_else(|| Error::WrongParam {
        param: param.to_owned(),
        expected: word(default),
        got: value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    })
}

fn word(value: &Json) -> &'static str {
    match value {
        Json::Null => "nothing",
        Json::Bool(_) => "a bool",
        Json::Number(_) => "a number",
        Json::String(_) => "text",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}

/// Whose days a pipeline counts.
///
/// # Errors
/// A time zone that can't be read.
pub fn calendar(pipeline: &Pipeline) -> Result<Calendar, Error> {
    Ok(Calendar::new(&pipeline.timezone)?)
}

/// The steps as the engine takes them, in declared order.
pub fn steps(pipeline: &Pipeline, params: &Map<String, Json>, code_hash: Option<&str>) -> Vec<NewStep> {
    let compiled = pipeline.steps.iter().map(|(name, step)| NewStep {
        name: name.clone(),
        kind: Kind::from(step.uses.clone()),
        args: args(step, params, code_hash),
        needs: step.needs.clone(),
        condition: step.condition.clone(),
        policy: step.policy,
        priority: 0,
        concurrency_key: None,
    });
    compiled.collect()
}

/// A step's `with` is its job's args, but for Python, whose limits and code are not in `with`.
fn args(step: &Step, params: &Map<String, Json>, code_hash: Option<&str>) -> Json {
    if step.uses != steps::PYTHON.as_str() {
        return Json::Object(step.with.clone());
    }
    json!({
        PythonArgs::WITH: step.with,
        "run_params": params,
        "code": code_hash,
        "memory_bytes": step.memory_bytes,
        "cpus": step.cpus,
        "time_limit": step.policy.timeout.unwrap_or(PYTHON_TIME_MAX),
    })
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;

    fn pipeline(params: Json) -> Pipeline {
        let Json::Object(params) = params else { panic!("a map") };
        let train = Step {
            uses: "python".into(),
            needs: vec!["data".into()],
            condition: None,
            with: json!({ "entry": "models.late:train" }).as_object().cloned().unwrap(),
            policy: tidemill_core::AttemptPolicy {
                timeout: Some(Duration::from_secs(1200)),
                ..Default::default()
            },
            memory_bytes: Some(2 << 30),
            cpus: Some(2),
        };
        let data = Step {
            uses: "dataset.build".into(),
            needs: vec![],
            with: json!({ "from": "${{ run.date - days(params.days) }}" }).as_object().cloned().unwrap(),
            ..train.clone()
        };
        Pipeline {
            name: "train_daily".into(),
            meta: tidemill_spec::Meta::default(),
            schedule: None,
            timezone: "America/New_York".into(),
            params: params.into_iter().collect(),
            steps: IndexMap::from([("data".to_owned(), data), ("train".to_owned(), train)]),
        }
    }

    #[track_caller]
    fn merged(defaults: Json, given: Json) -> Result<Json, String> {
        let given = given.as_object().cloned().unwrap();
        merge_params(&pipeline(defaults), &given).map(Json::Object).map_err(|error| error.to_string())
    }

    #[test]
    fn params_take_the_type_of_their_default() {
        assert_eq!(merged(json!({ "days": 151 }), json!({})), Ok(json!({ "days": 151 })));
        assert_eq!(merged(json!({ "days": 151 }), json!({ "days": "30" })), Ok(json!({ "days": 30 })));
        assert_eq!(merged(json!({ "name": "a" }), json!({ "name": "30" })), Ok(json!({ "name": "30" })));
        assert_eq!(merged(json!({ "name": "a" }), json!({ "name": 30 })), Ok(json!({ "name": "30" })));
        assert_eq!(merged(json!({ "on": true }), json!({ "on": "false" })), Ok(json!({ "on": false })));
        assert_eq!(merged(json!({ "any": null }), json!({ "any": [1] })), Ok(json!({ "any": [1] })));
        assert_eq!(
            merged(json!({ "days": 151 }), json!({ "days": "many" })).unwrap_err(),
            "param `days` is a number, got `many`"
        );
        assert_eq!(
            merged(json!({ "days": 151 }), json!({ "dais": 1 })).unwrap_err(),
            "pipeline `train_daily` has no param `dais`"
        );
    }

    #[test]
    fn a_day_is_the_one_of_the_pipelines_own_time_zone() {
        let calendar = calendar(&pipeline(json!({}))).unwrap();
        let evening = "2013-06-02T03:59:00Z".parse().unwrap();
        let day = calendar.day_of(evening);
        assert_eq!(day.to_string(), "2013-06-01");
        assert_eq!(calendar.midnight(day).to_rfc3339(), "2013-06-01T04:00:00+00:00");
    }

    #[test]
    fn steps_keep_order_needs_and_expressions() {
        let pipeline = pipeline(json!({ "days": 151 }));
        let steps = steps(&pipeline, &merge_params(&pipeline, &Map::new()).unwrap(), Some("c0de"));
        assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["data", "train"]);
        assert_eq!(steps[0].args, json!({ "from": "${{ run.date - days(params.days) }}" }));
        assert_eq!(steps[1].needs, ["data"]);
        assert_eq!(steps[1].args["with"]["entry"], "models.late:train");
        assert_eq!(steps[1].args["code"], "c0de");
        assert_eq!(steps[1].args["run_params"], json!({ "days": 151 }));
        assert_eq!(
            (&steps[1].args["memory_bytes"], &steps[1].args["cpus"]),
            (&json!(2_u64 << 30), &json!(2))
        );
    }
}
