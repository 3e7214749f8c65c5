//! A transform over rows: asks processes, and finds the rows that hang, eat memory or kill their process.
//!
//! A row that raises is told by the process itself. What ends the process is narrowed down from here, in fresh
//! processes, until a row is alone with it: that row fails alone, and the others go on. What this may cost is bounded
//! ([`Transform::patience`]); then the whole transform fails, and names the rows it was at.

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};

use arrow::{
    array::{RecordBatch, new_null_array},
    compute::concat_batches,
    datatypes::Schema,
};
use indexmap::IndexMap;
use serde::Serialize;
use tidemill_core::{Ends, Fault, JobError};
use tidemill_rows::field;
use tidemill_spec::Type;
use tokio::time::Instant;

use crate::{
    PyError, PyPool, StepEvent, StepSink,
    protocol::{self, Request, RowFailure},
};

/// Rows of one request in [`Mode::Row`].
const ROWS_PER_REQUEST: usize = 8192;
/// Printed lines that wait to be taken: so many of the first and of the last.
const LINES_MAX: usize = 500;

/// How a transform is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `def f(row: dict) -> dict`, for each row.
    Row,
    /// `def f(table: pyarrow.Table) -> table`, once; row order and count are kept.
    Batch,
}

/// What is called.
#[derive(Clone, Debug)]
pub struct Transform {
    /// `module:function`.
    pub entry: String,
    /// How.
    pub mode: Mode,
    /// The columns it declares to return.
    pub out: IndexMap<String, Type>,
    /// The longest that one call of the function may take, real time.
    pub call_limit: Duration,
    /// What calls that end their process may cost in all, real time: past it the transform fails.
    pub patience: Duration,
}

/// What a transform gave.
#[derive(Clone, Debug)]
pub struct Transformed {
    /// The declared columns, one row for each input row; all null where the row failed.
    pub rows: RecordBatch,
    /// Which rows failed and why, by index.
    pub failures: Vec<(usize, Fault)>,
}

/// What user code printed: of very much the first and the last lines, and how many lie between them.
#[derive(Debug)]
pub struct Printed(Ends<String>);

impl Default for Printed {
    fn default() -> Self {
        Self(Ends::new(LINES_MAX))
    }
}

impl Printed {
    /// The lines since the last time.
    pub fn take(&mut self) -> Vec<String> {
        let left_out = self.0.left_out();
        let (mut lines, last) = self.0.take();
        if left_out > 0 {
            lines.push(format!("… {left_out} lines left out"));
        }
        lines.extend(last);
        lines
    }

    fn push(&mut self, line: String) {
        self.0.push(line);
    }
}

impl StepSink for Printed {
    async fn event(&mut self, event: StepEvent) -> Result<(), JobError> {
        if let StepEvent::Log(line) = event {
            self.push(line);
        }
        Ok(())
    }
}

/// What is left to do, range after range.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// Ask a process, under a limit for each call.
    Ask(Range<usize>, Duration),
    /// Ask once more about a row whose process ended while it had no other: that may have been chance.
    Confirm(usize, Duration),
    /// A row that was alone with what it did: it fails.
    Fail(usize, Fault),
}

impl PyPool {
    /// Runs a function over rows. A row that raises fails alone, and so does one that hangs, eats memory or kills its
    /// process; a batch function is called with ever fewer rows until those are found.
    ///
    /// # Errors
    /// The function can't be called at all, or too much time went to rows that end their process
    /// ([`PyError::GaveUp`]).
    pub async fn transform(
        &self,
        transform: &Transform,
        rows: &RecordBatch,
        printed: &mut Printed,
    ) -> Result<Transformed, PyError> {
        let Transform { entry, mode, out, call_limit, patience } = transform;
        let request = Request::Transform { entry, mode: *mode, out };
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        let mut lost = Duration::ZERO;
        let mut todo = first_parts(*mode, rows.num_rows(), *call_limit);
        while let Some(part) = todo.pop_front() {
            let (range, limit, confirms) = match part {
                Part::Ask(range, limit) => (range, limit, false),
                Part::Confirm(row, limit) => (row..row + 1, limit, true),
                Part::Fail(row, fault) => {
                    failures.push((row, fault));
                    done.push(null_row(out)?);
                    continue;
                }
            };
            let started = Instant::now();
            let slice = rows.slice(range.start, range.len());
            let (reply, calls) = self.ask(&request, &slice, printed, limit).await;
            let error = match reply {
                Ok(reply) => {
                    failures.extend(reply.failures.into_iter().map(|failure| told(range.start, failure)));
                    done.push(protocol::decode(&reply.body)?);
                    continue;
                }
                Err(error @ (PyError::Time { .. } | PyError::Memory { .. })) => error,
                // Before the first call it is not the rows' doing.
                Err(error @ PyError::Died { .. }) if calls > 0 => error,
                Err(error) => return Err(error),
            };
            lost += started.elapsed();
            let suspects = suspects(&range, *mode, calls);
            if calls == 0 || lost >= *patience {
                return Err(PyError::GaveUp { rows: suspects, source: Box::new(error) });
            }
            let narrowed = match mode {
                _ if range.len() == 1 => alone(range.start, limit, &error, confirms),
                Mode::Row => around(&range, suspects.start, *call_limit, &error),
                Mode::Batch => halves(&range, rows.num_rows(), *call_limit),
            };
            narrowed.into_iter().rev().for_each(|part| todo.push_front(part));
        }
        Ok(Transformed {
            rows: concat_batches(&done[0].schema(), &done).map_err(tidemill_rows::Error::from)?,
            failures,
        })
    }
}

/// At least one, also without rows: a wrong entry is told, and the result has its columns.
fn first_parts(mode: Mode, rows: usize, call_limit: Duration) -> VecDeque<Part> {
    let step = if mode == Mode::Row { ROWS_PER_REQUEST } else { rows.max(1) };
    let starts = (0..rows.max(1)).step_by(step);
    starts.map(|start| Part::Ask(start..rows.min(start + step), call_limit)).collect()
}

/// The rows that the last call was given.
fn suspects(range: &Range<usize>, mode: Mode, calls: u64) -> Range<usize> {
    match usize::try_from(calls) {
        Ok(calls @ 1..) if mode == Mode::Row => {
            let row = (range.start + calls).min(range.end) - 1;
            row..row + 1
        }
        _ => range.clone(),
    }
}

/// What becomes of a row that was alone with what it did. A process can end for reasons of its own, such as a kill from
/// outside, so the row is asked about once more; a hanging one had its call's whole time.
fn alone(row: usize, limit: Duration, error: &PyError, confirms: bool) -> Vec<Part> {
    let guilty = confirms || matches!(error, PyError::Time { .. });
    vec![if guilty { Part::Fail(row, error.fault()) } else { Part::Confirm(row, limit) }]
}

/// The rows before a suspect, itself, and the rows after it. One that hangs had its call's whole time and fails; what
/// grew or died may have done so because of the rows before, so it is asked alone first.
fn around(range: &Range<usize>, suspect: usize, call_limit: Duration, error: &PyError) -> Vec<Part> {
    let ask = |range: Range<usize>| (!range.is_empty()).then_some(Part::Ask(range, call_limit));
    let itself = match error {
        PyError::Time { .. } => Some(Part::Fail(suspect, error.fault())),
        _ => ask(suspect..suspect + 1),
    };
    [ask(range.start..suspect), itself, ask(suspect + 1..range.end)].into_iter().flatten().collect()
}

/// The two halves of what a batch function could not answer, with less time the fewer they are: a row alone has half
/// of what all `rows` have. All the calls on the way to one row take about as long as the first.
fn halves(range: &Range<usize>, rows: usize, call_limit: Duration) -> Vec<Part> {
    let ask = |range: Range<usize>| {
        #[expect(clippy::cast_precision_loss, reason = "a share of a time limit")]
        let share = if range.len() == 1 { 1.0 } else { (range.len() as f64 / rows as f64).max(0.1) };
        Part::Ask(range, call_limit.mul_f64(share / 2.0))
    };
    let middle = range.start + range.len() / 2;
    vec![ask(range.start..middle), ask(middle..range.end)]
}

fn null_row(out: &IndexMap<String, Type>) -> Result<RecordBatch, PyError> {
    let fields: Vec<_> = out.iter().map(|(name, ty)| field(name, *ty)).collect();
    let nulls = fields.iter().map(|field| new_null_array(field.data_type(), 1)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), nulls).map_err(tidemill_rows::Error::from)?)
}

fn told(offset: usize, failure: RowFailure) -> (usize, Fault) {
    let code = if failure.returned { 708 } else { 701 };
    let fault = Fault::coded(code, failure.message);
    (offset + failure.row, if failure.returned { fault } else { fault.detail(failure.traceback) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn time() -> PyError {
        PyError::Time { limit: LIMIT }
    }

    /// Follows the narrowing down of one row that hangs: calls that it costs, and their time.
    fn cost(rows: usize, guilty: usize) -> (usize, Duration) {
        let (mut calls, mut lost) = (0, Duration::ZERO);
        let mut todo = first_parts(Mode::Batch, rows, LIMIT);
        while let Some(part) = todo.pop_front() {
            let Part::Ask(range, limit) = part else { continue };
            if range.contains(&guilty) {
                (calls, lost) = (calls + 1, lost + limit);
                let narrowed = match range.len() {
                    1 => alone(range.start, limit, &time(), false),
                    _ => halves(&range, rows, LIMIT),
                };
                narrowed.into_iter().rev().for_each(|part| todo.push_front(part));
            }
        }
        (calls, lost)
    }

    #[test]
    fn one_row_that_hangs_is_found_within_three_limits_however_many_there_are() {
        for rows in [1, 2, 3, 100, 8192, 500_000] {
            let (calls, lost) = cost(rows, rows / 3);
            assert!(lost < 3 * LIMIT && calls <= 21, "{rows} rows: {calls} calls, {lost:?}");
        }
    }

    #[test]
    fn a_row_function_is_at_the_row_that_it_was_called_with_last() {
        assert_eq!(suspects(&(10..20), Mode::Row, 4), 13..14);
        assert_eq!(suspects(&(10..20), Mode::Batch, 4), 10..20);
        assert_eq!(suspects(&(10..20), Mode::Row, 0), 10..20);
        let fails = Part::Fail(13, time().fault());
        let expected = [Part::Ask(10..13, LIMIT), fails, Part::Ask(14..20, LIMIT)];
        assert_eq!(around(&(10..20), 13, LIMIT, &time()), expected);
        let died = PyError::Died { status: "signal 11".to_owned(), output: String::new() };
        assert_eq!(around(&(10..20), 10, LIMIT, &died), [Part::Ask(10..11, LIMIT), Part::Ask(11..20, LIMIT)]);
    }

    #[test]
    fn a_row_is_guilty_of_its_process_when_it_has_happened_twice_with_it_alone() {
        let died = PyError::Died { status: "signal 9 kill".to_owned(), output: String::new() };
        assert_eq!(alone(10, LIMIT, &died, false), [Part::Confirm(10, LIMIT)]);
        assert_eq!(alone(10, LIMIT, &died, true), [Part::Fail(10, died.fault())]);
        assert_eq!(alone(10, LIMIT, &time(), false), [Part::Fail(10, time().fault())]);
    }

    #[test]
    fn of_what_is_printed_the_first_and_the_last_are_kept() {
        let mut printed = Printed::default();
        (0..2_000).for_each(|n| printed.push(n.to_string()));
        let lines = printed.take();
        assert_eq!((lines[0].as_str(), lines[499].as_str()), ("0", "499"));
        assert_eq!((lines[500].as_str(), lines[501].as_str()), ("… 1000 lines left out", "1500"));
        assert_eq!(lines.last().unwrap(), "1999");
        printed.push("more".to_owned());
        assert_eq!(printed.take(), ["more"]);
    }
}
