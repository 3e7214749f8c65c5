//! `${{ }}` and `if`, resolved at the moment a step starts.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tidemill_core::{Calendar, Fault, Time};
use tidemill_runtime::{Prepare, Prepared, StepStart};
use tidemill_spec::expr::cel::{self, InvalidCel, Scope};

/// What a run's steps are prepared with; kept with the run, so fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunContext {
    /// All params, defaults included.
    pub params: Map<String, Json>,
    /// Whose days it counts; an IANA name.
    #[serde(default = "utc")]
    pub timezone: String,
    /// The first instant of the run's day in that time zone.
    pub date: Time,
    /// Hash of the project's code in force at the start.
    pub code: Option<String>,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl RunContext {
    pub(crate) fn to_json(&self) -> Json {
        serde_json::to_value(self).expect("params and times are JSON")
    }
}

/// Prepares the steps of pipelines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps;

impl Prepare for Steps {
    fn prepare(&self, step: &StepStart<'_>) -> Result<Prepared, Fault> {
        // A run that no pipeline started (an upload's) holds no expressions.
        if step.context.is_null() {
            return Ok(Prepared::Run(step.args.clone()));
        }
        let scope = scope(step)?;
        if let Some(condition) = step.condition
            && !cel::condition(condition, &scope).map_err(|error| invalid(step, &error))?
        {
            return Ok(Prepared::Skip(format!("`{condition}` is false")));
        }
        let Json::Object(args) = step.args else { return Ok(Prepared::Run(step.args.clone())) };
        cel::resolve(args, &scope)
            .map(|args| Prepared::Run(Json::Object(args)))
            .map_err(|error| invalid(step, &error))
    }
}

fn scope(step: &StepStart<'_>) -> Result<Scope, Fault> {
    let unreadable = |error| Fault::new(format!("the context of run {} can't be read: {error}", step.run));
    let context: RunContext = serde_json::from_value(step.context.clone()).map_err(unreadable)?;
    let outputs: IndexMap<String, Json> = serde_json::from_value(step.outputs.clone()).map_err(unreadable)?;
    let calendar = Calendar::new(&context.timezone).map_err(|error| Fault::new(error.to_string()))?;
    Ok(Scope {
        params: context.params,
        calendar,
        date: context.date,
        time: step.logical_time.unwrap_or(context.date),
        run: step.run.to_string(),
        outputs,
    })
}

fn invalid(step: &StepStart<'_>, error: &InvalidCel) -> Fault {
    Fault::coded(323, format!("step `{}` of pipeline `{}`: {error}", step.step, step.pipeline))
        .hint("outputs of a step are listed by `tidemill runs show RUN`; fix the pipeline, apply it and run it again")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidemill_core::{Kind, RunId};

    use super::*;

    #[track_caller]
    fn prepared(args: &Json, condition: Option<&str>, outputs: &Json) -> Result<Prepared, Fault> {
        let params = json!({ "days": 151 }).as_object().cloned().unwrap();
        let date = "2013-06-01T04:00:00Z".parse().unwrap();
        let timezone = "America/New_York".to_owned();
        let context = RunContext { params, timezone, date, code: None }.to_json();
        Steps.prepare(&StepStart {
            run: RunId::generate(),
            pipeline: "train_daily",
            version: 1,
            step: "rollout",
            kind: &Kind::new("model.promote"),
            context: &context,
            logical_time: Some("2013-06-01T13:00:00Z".parse().unwrap()),
            args,
            condition,
            outputs,
        })
    }

    #[test]
    fn expressions_take_values_and_types_of_params_and_outputs() {
        let args = json!({
            "from": "${{ run.date - days(params.days) }}",
            "to": "${{ run.time }}",
            "with": { "version": "${{ steps.register.outputs.version }}", "days": "${{ params.days }}" },
            "plain": "text",
        });
        let outputs = json!({ "register": { "version": 3 } });
        let expected = json!({
            "from": "2013-01-01T05:00:00Z",
            "to": "2013-06-01T13:00:00Z",
            "with": { "version": 3, "days": 151 },
            "plain": "text",
        });
        assert_eq!(prepared(&args, None, &outputs), Ok(Prepared::Run(expected)));
    }

    #[test]
    fn a_false_condition_skips_and_says_so() {
        let condition = Some("steps.gate.outputs.delta >= -0.005");
        let gate =
            |delta: f64| prepared(&json!({}), condition, &json!({ "gate": { "delta": delta } })).unwrap();
        assert_eq!(gate(0.0), Prepared::Run(json!({})));
        assert_eq!(gate(-0.1), Prepared::Skip("`steps.gate.outputs.delta >= -0.005` is false".to_owned()));
    }

    #[test]
    fn an_output_that_is_not_there_is_a_fault_with_a_page() {
        let fault =
            prepared(&json!({ "version": "${{ steps.register.outputs.vresion }}" }), None, &json!({}))
                .unwrap_err();
        assert_eq!(fault.code.unwrap().to_string(), "TM0323");
        assert!(fault.message.starts_with("step `rollout` of pipeline `train_daily`:"), "{fault}");
    }
}
