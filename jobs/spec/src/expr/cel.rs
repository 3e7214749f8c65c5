//! CEL in pipelines: `${{ run.date - days(params.days) }}` and `if:` conditions.
//!
//! Bounded in length and depth ([`super::limits`]), and without I/O. Names: `params.*`, `run.date`, `run.time`, `run.id`,
//! `steps.NAME.outputs.*`; functions `days(n)` (days of the pipeline's calendar) and `date("2013-06-01")` (midnight of a
//! day in the pipeline's time zone, or an instant).

mod days;
mod names;

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use cel::{Context, ExecutionError, IdedExpr, Program, Value, objects::Key};
use chrono::{NaiveDate, TimeDelta};
use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use tidemill_core::{Calendar, Time, calendar::within_reach};

pub(crate) use names::{FUNCTIONS, Names, names};

use super::limits;
use crate::{units, value::parse_time};

/// Loops within each other, and the values that each may go over then.
const LOOPS_MAX: usize = 2;
const LOOPED_MAX: usize = 1_000;
/// Bytes of an expression's value.
const VALUE_BYTES_MAX: usize = 8 << 20;

/// What the names of an expression stand for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The run's params.
    pub params: Map<String, Json>,
    /// The calendar of the pipeline's time zone, in which days are counted.
    pub calendar: Calendar,
    /// The first instant of the run's day in that calendar.
    pub date: Time,
    /// The moment the run stands for: its tick, or when it was started.
    pub time: Time,
    /// The run's id.
    pub run: String,
    /// Outputs of the steps that have completed.
    pub outputs: IndexMap<String, Json>,
}

/// An expression that cannot be compiled or evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} in `{expression}`")]
pub struct InvalidCel {
    /// What is wrong.
    pub message: String,
    /// The expression.
    pub expression: String,
    /// Where in it, in characters from 0, if known.
    pub offset: Option<usize>,
}

/// Evaluates a condition, with or without `${{ }}`.
///
/// # Errors
/// It does not compile, a name is missing, or the result is not a bool.
pub fn condition(expression: &str, scope: &Scope) -> Result<bool, InvalidCel> {
    let expression = unwrap_expression(expression);
    truth(expression, &evaluate(expression, scope)?)
}

/// What stands between `${{` and `}}`; the text itself where there are none.
pub(crate) fn unwrap_expression(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).map_or(text, str::trim)
}

fn truth(expression: &str, value: &Value) -> Result<bool, InvalidCel> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        other => {
            let other = to_json(expression, other)?;
            Err(invalid(expression, format!("a condition is true or false, not {}", text(&other))))
        }
    }
}

/// Why no run can evaluate an expression. Only what reads no name is judged: the rest is another in every run.
pub(crate) fn never(program: &Program, names: &Names, condition: bool) -> Option<String> {
    let value = |expr: &IdedExpr| value_of(expr.clone(), "", &Scope::default());
    if !names.paths.is_empty() {
        return names.constant_calls().find_map(|call| value(call).err()).map(|error| error.message);
    }
    let usable = |value| {
        if condition { truth("", &value).map(drop) } else { to_json("", &value).map(drop) }
    };
    value(program.expression()).and_then(usable).err().map(|error| error.message)
}

/// Replaces every `${{ }}` in the strings of `with`. A string that is one expression takes its value and type
/// (instants become RFC 3339, durations become text such as `14d`); within longer text values are inserted as text.
///
/// # Errors
/// An expression does not compile, or a name is missing.
pub fn resolve(with: &Map<String, Json>, scope: &Scope) -> Result<Map<String, Json>, InvalidCel> {
    with.iter().map(|(name, json)| Ok((name.clone(), resolve_json(json, scope)?))).collect()
}

fn resolve_json(json: &Json, scope: &Scope) -> Result<Json, InvalidCel> {
    match json {
        Json::String(template) => resolve_text(template, scope),
        Json::Array(items) => items.iter().map(|item| resolve_json(item, scope)).collect(),
        Json::Object(map) => resolve(map, scope).map(Json::Object),
        _ => Ok(json.clone()),
    }
}

fn resolve_text(template: &str, scope: &Scope) -> Result<Json, InvalidCel> {
    let parts = parts(template)?;
    if let [Part { expression: true, text: one, .. }] = parts.as_slice() {
        return to_json(one, &evaluate(one, scope)?);
    }
    let mut whole = String::new();
    for part in parts {
        if part.expression {
            whole.push_str(&text(&to_json(part.text, &evaluate(part.text, scope)?)?));
        } else {
            whole.push_str(part.text);
        }
    }
    Ok(Json::from(whole))
}

/// A piece of a string: an expression without its braces, or what stands between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part<'a> {
    pub expression: bool,
    pub text: &'a str,
    /// Where the piece begins in the whole, in characters.
    pub offset: usize,
}

/// Cuts a string at its `${{ }}`.
///
/// # Errors
/// One is not closed.
pub(crate) fn parts(template: &str) -> Result<Vec<Part<'_>>, InvalidCel> {
    let mut parts = Vec::new();
    let mut rest = template;
    let offset_of = |rest: &str| template[..template.len() - rest.len()].chars().count();
    while let Some(start) = rest.find("${{") {
        if start > 0 {
            parts.push(Part { expression: false, text: &rest[..start], offset: offset_of(rest) });
        }
        let after = &rest[start + 3..];
        let Some(end) = after.find("}}") else {
            let offset = Some(offset_of(rest) + rest[..start].chars().count());
            return Err(InvalidCel { offset, ..invalid(template, "`${{` is not closed by `}}`") });
        };
        let body = &after[..end];
        let trimmed = body.trim_start();
        parts.push(Part {
            expression: true,
            text: trimmed.trim_end(),
            offset: offset_of(&after[body.len() - trimmed.len()..]),
        });
        rest = &after[end + 2..];
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part { expression: false, text: rest, offset: offset_of(rest) });
    }
    Ok(parts)
}

fn invalid(expression: &str, message: impl Into<String>) -> InvalidCel {
    InvalidCel { message: message.into(), expression: expression.to_owned(), offset: None }
}

pub(crate) fn compile(expression: &str) -> Result<Program, InvalidCel> {
    limits::CEL
        .check(expression)
        .map_err(|(message, offset)| InvalidCel { offset: Some(offset), ..invalid(expression, message) })?;
    let program = parse(expression)?;
    if names::loops(program.expression()) > LOOPS_MAX {
        let message = format!("it has more than {LOOPS_MAX} nested loops");
        return Err(invalid(expression, message));
    }
    Ok(program)
}

fn parse(expression: &str) -> Result<Program, InvalidCel> {
    Program::compile(expression).map_err(|errors| {
        let first = errors.errors.first();
        let column = first.and_then(|error| usize::try_from(error.pos.1).ok());
        let message = first.map_or("not an expression", |error| error.msg.lines().next().unwrap_or_default());
        let message =
            message.trim_start_matches("Syntax error: ").split(" expecting").next().unwrap_or_default();
        let message =
            if message.contains("<EOF>") { "it ends too early".to_owned() } else { message.to_lowercase() };
        InvalidCel { offset: column.map(|column| column.saturating_sub(1)), ..invalid(expression, message) }
    })
}

fn evaluate(expression: &str, scope: &Scope) -> Result<Value, InvalidCel> {
    value_of(compile(expression)?.expression().clone(), expression, scope)
}

/// The value of a compiled expression; `expression` is what an error shows.
fn value_of(mut program: IdedExpr, expression: &str, scope: &Scope) -> Result<Value, InvalidCel> {
    let longest = scope.params.values().chain(scope.outputs.values()).map(longest).max().unwrap_or(0);
    if longest > LOOPED_MAX && names::loops(&program) > 1 {
        let message = format!("it loops within a loop, over {longest} values; {LOOPED_MAX} are the most");
        return Err(invalid(expression, message));
    }
    days::count_in_calendar(&mut program);
    let mut context = Context::default();
    let failed = |error: &dyn std::fmt::Display| invalid(expression, error.to_string());
    let calendar = scope.calendar;
    context.add_function("days", length).map_err(|error| failed(&error))?;
    context.add_function("date", move |text| date(calendar, text)).map_err(|error| failed(&error))?;
    for (name, sign) in [(days::LATER, 1), (days::EARLIER, -1)] {
        let shifted = move |moment: Value, count: Value| days::shifted(calendar, sign, &moment, &count);
        context.add_function(name, shifted).map_err(|error| failed(&error))?;
    }
    let steps = scope.outputs.iter().map(|(step, outputs)| {
        let outputs = map([("outputs".to_owned(), from_json(outputs))]);
        (step.clone(), outputs)
    });
    let run = [
        ("id".to_owned(), string(&scope.run)),
        ("date".to_owned(), Value::Timestamp(days::zoned(calendar, scope.date))),
        ("time".to_owned(), Value::Timestamp(days::zoned(calendar, scope.time))),
    ];
    context.add_variable_from_value("params", from_json(&Json::Object(scope.params.clone())));
    context.add_variable_from_value("run", map(run));
    context.add_variable_from_value("steps", map(steps));
    // Sums of instants and durations panic beyond what their types hold.
    let value = catch_unwind(AssertUnwindSafe(|| context.resolve(&program)));
    let value = value.map_err(|_| invalid(expression, "a value is beyond what can be computed"))?;
    let value = value.map_err(|error| failed(&error))?;
    if !fits(&value, &mut VALUE_BYTES_MAX.clone()) {
        return Err(invalid(expression, format!("its value is larger than {} MiB", VALUE_BYTES_MAX >> 20)));
    }
    Ok(value)
}

/// Values of the longest list or map.
fn longest(json: &Json) -> usize {
    match json {
        Json::Array(items) => items.iter().map(longest).max().unwrap_or(0).max(items.len()),
        Json::Object(fields) => fields.values().map(longest).max().unwrap_or(0).max(fields.len()),
        _ => 0,
    }
}

/// Whether a value, written out, takes no more than what is left. Values share texts and lists, so one that is small in
/// memory can be large as JSON.
fn fits(value: &Value, left: &mut usize) -> bool {
    let own = match value {
        Value::String(text) => text.len(),
        _ => 8,
    };
    if own > *left {
        return false;
    }
    *left -= own;
    match value {
        Value::List(items) => items.iter().all(|item| fits(item, left)),
        Value::Map(map) => map.map.values().all(|value| fits(value, left)),
        _ => true,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a function of CEL")]
fn length(count: Value) -> Result<Value, ExecutionError> {
    let beyond = || ExecutionError::function_error("days", "too many days");
    TimeDelta::try_days(days::whole(&count)?).map(Value::Duration).ok_or_else(beyond)
}

fn date(calendar: Calendar, text: Value) -> Result<Value, ExecutionError> {
    let time = match &text {
        Value::String(text) => match text.parse::<NaiveDate>() {
            Ok(day) => Some(day).filter(|day| within_reach(*day)).map(|day| calendar.midnight(day)),
            Err(_) => parse_time(text),
        },
        Value::Timestamp(_) => return Ok(text),
        _ => None,
    };
    time.map(|time| Value::Timestamp(days::zoned(calendar, time)))
        .ok_or_else(|| ExecutionError::function_error("date", "expected a day such as \"2013-06-01\""))
}

fn string(text: &str) -> Value {
    Value::String(text.to_owned().into())
}

fn map(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    let map: HashMap<Key, Value> = entries.into_iter().map(|(key, value)| (Key::from(key), value)).collect();
    Value::Map(cel::objects::Map { map: map.into() })
}

/// Whole numbers are always `int`, so that `params.days - 1` has one type of number.
fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => string(text),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect::<Vec<_>>().into()),
        Json::Object(entries) => map(entries.iter().map(|(key, value)| (key.clone(), from_json(value)))),
    }
}

fn to_json(expression: &str, value: &Value) -> Result<Json, InvalidCel> {
    match value {
        Value::Timestamp(time) => {
            Ok(Json::from(time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)))
        }
        Value::Duration(duration) => match duration.to_std() {
            Ok(duration) => Ok(Json::from(units::format_duration(duration))),
            Err(_) => Err(invalid(expression, "a length of time is not negative")),
        },
        other => other.json().map_err(|error| invalid(expression, error.to_string())),
    }
}

fn text(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let Json::Object(params) = json!({"days": 151, "share": 0.5, "name": "x"}) else { unreachable!() };
        Scope {
            params,
            calendar: Calendar::new("America/New_York").unwrap(),
            date: parse_time("2013-06-01T00:00:00-04:00").unwrap(),
            time: parse_time("2013-06-01T05:00:00-04:00").unwrap(),
            run: "run_1".to_owned(),
            outputs: IndexMap::from([("gate".to_owned(), json!({"delta": -0.002, "version": 3}))]),
        }
    }

    fn resolved(template: &str) -> Json {
        let Json::Object(with) = json!({ "x": template }) else { unreachable!() };
        resolve(&with, &scope())
            .map_or_else(|error| Json::from(error.to_string()), |mut with| with["x"].take())
    }

    #[test]
    fn a_string_that_is_one_expression_takes_its_type() {
        assert_eq!(resolved("${{ run.date - days(params.days) }}"), json!("2013-01-01T05:00:00Z"));
        assert_eq!(resolved("${{ run.date }}"), json!("2013-06-01T04:00:00Z"));
        assert_eq!(resolved("${{ run.time }}"), json!("2013-06-01T09:00:00Z"));
        assert_eq!(resolved("${{ date(\"2013-06-01\") }}"), json!("2013-06-01T04:00:00Z"));
        assert_eq!(resolved("${{ date(\"2013-06-01T00:00:00Z\") }}"), json!("2013-06-01T00:00:00Z"));
        assert_eq!(resolved("${{ days(14) }}"), json!("14d"));
        assert_eq!(resolved("${{ steps.gate.outputs.version }}"), json!(3));
        assert_eq!(resolved("${{ params.days + 1 }}"), json!(152));
        assert_eq!(resolved("v${{ steps.gate.outputs.version }}-${{ params.name }}"), json!("v3-x"));
        assert_eq!(resolved("plain"), json!("plain"));
    }

    #[test]
    fn days_are_those_of_the_pipelines_calendar() {
        let on = |date: &str, expression: &str| {
            let scope = Scope { date: parse_time(date).unwrap(), time: parse_time(date).unwrap(), ..scope() };
            to_json(expression, &evaluate(expression, &scope).unwrap()).unwrap()
        };
        // The clocks were set forward on 10 March.
        let date = "2013-03-12T00:00:00-04:00";
        for (expression, expected) in [
            ("run.date - days(7)", "2013-03-05T05:00:00Z"),
            ("run.date + days(-7)", "2013-03-05T05:00:00Z"),
            ("days(1) + run.date", "2013-03-13T04:00:00Z"),
            ("run.date - (days(6) + days(1))", "2013-03-05T05:00:00Z"),
            ("run.date - days(7) + days(7)", "2013-03-12T04:00:00Z"),
            ("run.date - days(7) + duration(\"1h\")", "2013-03-05T06:00:00Z"),
            ("run.date - duration(\"168h\")", "2013-03-05T04:00:00Z"),
            ("run.date - duration(\"21h\") - days(1)", "2013-03-10T07:00:00Z"),
            ("true ? run.date - days(7) : run.date", "2013-03-05T05:00:00Z"),
            ("[run.date - days(7)][0]", "2013-03-05T05:00:00Z"),
        ] {
            assert_eq!(on(date, expression), json!(expected), "{expression}");
        }
        // Its day is the one of its own clocks.
        assert_eq!(on("2013-03-12T00:00:00-04:00", "(run.date - days(7)).getDate()"), json!(5));
        assert_eq!(on("2013-03-12T23:30:00-04:00", "run.time.getDate()"), json!(12));
        assert_eq!(on(date, "run.date - date(\"2013-03-05\") > days(3)"), json!(true));
    }

    #[test]
    fn what_leads_beyond_the_calendar_is_refused() {
        for expression in ["run.date + days(9223372036854775807)", "run.date - days(800000)", "days(-1)"] {
            let refused = resolved(&format!("${{{{ {expression} }}}}"));
            assert!(refused.as_str().unwrap().ends_with(&format!("in `{expression}`")), "{refused}");
        }
    }

    #[test]
    fn conditions_are_true_or_false() {
        assert_eq!(condition("${{ steps.gate.outputs.delta >= -0.005 }}", &scope()), Ok(true));
        assert_eq!(condition("steps.gate.outputs.delta >= 0.0", &scope()), Ok(false));
        assert!(condition("params.days", &scope()).is_err());
    }

    #[test]
    fn a_missing_name_says_which() {
        let message = resolved("${{ steps.gate.outputs.nothing }}");
        assert!(message.as_str().unwrap().contains("nothing"), "{message}");
    }
}
