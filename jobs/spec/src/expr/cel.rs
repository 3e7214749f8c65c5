//! CEL in pipelines: `${{ run.date - days(params.days) }}` and `if:` conditions.
//!
//! Bounded and without I/O. Names: `params.*`, `run.date`, `run.id`, `steps.NAME.outputs.*`; functions
//! `days(n)` (a duration) and `date("2013-06-01")` (midnight UTC of a day, or an instant).

use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use tidemill_core::Time;

/// What the names of an expression stand for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The run's params.
    pub params: Map<String, Json>,
    /// The run's logical time: midnight of its day in the schedule's time zone.
    pub date: Time,
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
pub fn condition(_expression: &str, _scope: &Scope) -> Result<bool, InvalidCel> {
    todo!()
}

/// Replaces every `${{ }}` in the strings of `with`. A string that is one expression takes its value and type
/// (instants become RFC 3339, durations become text such as `14d`); within longer text values are inserted as text.
///
/// # Errors
/// An expression does not compile, or a name is missing.
pub fn resolve(_with: &Map<String, Json>, _scope: &Scope) -> Result<Map<String, Json>, InvalidCel> {
    todo!()
}
