//! What the checks of a monitor say of a window. Pure: tables and figures in, results out.

use std::collections::BTreeMap;

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use serde::{Deserialize, Serialize};
use tidemill_core::Time;
use tidemill_spec::Check;

use crate::{
    ColumnReport, Error, Verdict,
    column::{compare_column, named},
    counts::Bins,
    verdict::{at_most, judge},
};

/// What is known of a window.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// What the window is compared with.
    pub reference: RecordBatch,
    /// Its rows; a model's with features, label and predictions.
    pub window: RecordBatch,
    /// AUC of the version on rows that training never saw.
    pub auc_reference: Option<f64>,
    /// AUC on the window's labels.
    pub auc: Option<f64>,
    /// Newest row of each source and view whose freshness is watched.
    pub newest: BTreeMap<String, Option<Time>>,
    /// When freshness is asked: the window's end, or the data clock within it.
    pub end: Time,
}

/// What one check says of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// `psi`, `js`, `ks`, `label_rate`, `auc`, `null_rate`, `freshness` or `volume`.
    pub check: String,
    /// The column, label, source or view; empty for the volume.
    pub column: String,
    /// The figure: a distance, a change, a drop, a share, seconds, or rows.
    pub value: Option<f64>,
    /// What it must not exceed; for the volume, not go below.
    pub limit: f64,
    /// What was said.
    pub status: Verdict,
    /// Why nothing could be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Judges every check; the second part has the columns whose distribution was compared.
pub(crate) fn judge_all(checks: &[Check], facts: &Facts) -> (Vec<CheckResult>, Vec<ColumnReport>) {
    let (mut results, mut columns) = (Vec::new(), Vec::new());
    for check in checks {
        match check {
            Check::Drift { measure, columns: watched, warn, fail } => {
                for column in watched {
                    let compared = compare_column(&facts.reference, &facts.window, column);
                    let figure = compared.as_ref().map(|report| figure(report, measure)).map_err(note);
                    results.push(result(facts, measure, column, figure, (*warn, *fail)));
                    columns.extend(compared);
                }
            }
            Check::LabelRate { label, max_change } => {
                let change = mean_change(facts, label).map_err(|error| note(&error));
                results.push(result(facts, "label_rate", label, change, (None, *max_change)));
            }
            Check::Auc { label, max_drop } => {
                let drop = facts.auc_reference.zip(facts.auc).map(|(before, now)| before - now);
                let drop = drop.map(Some).ok_or_else(|| "no AUC of the holdout, or of the window".to_owned());
                results.push(result(facts, "auc", label, drop, (None, *max_drop)));
            }
            Check::NullRate { column, max } => {
                let rate = null_rate(&facts.window, column).map_err(|error| note(&error));
                results.push(result(facts, "null_rate", column, rate, (None, *max)));
            }
            Check::Freshness { object, max } => results.push(freshness(facts, object, max.as_secs_f64())),
            Check::Volume { min } => results.push(volume(rows(facts), *min)),
        }
    }
    (results, columns)
}

/// Mean of a bool or number over its values; none without any.
pub(crate) fn mean(rows: &RecordBatch, column: &str) -> Result<Option<f64>, Error> {
    let values = cast(named(rows, column)?, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    let known = values.len() - values.null_count();
    #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
    Ok((known > 0).then(|| values.iter().flatten().sum::<f64>() / known as f64))
}

fn rows(facts: &Facts) -> u64 {
    facts.window.num_rows() as u64
}

fn figure(report: &ColumnReport, measure: &str) -> Option<f64> {
    match measure {
        "js" => report.js,
        "ks" => report.ks,
        _ => report.psi,
    }
}

fn note(error: &Error) -> String {
    error.to_string()
}

fn result(
    facts: &Facts,
    check: &str,
    column: &str,
    figure: Result<Option<f64>, String>,
    (warn, limit): (Option<f64>, f64),
) -> CheckResult {
    let (value, note) = match figure {
        Ok(value) => (value, None),
        Err(note) => (None, Some(note)),
    };
    let status = judge(value, rows(facts), warn, limit);
    CheckResult { check: check.to_owned(), column: column.to_owned(), value, limit, status, note }
}

fn mean_change(facts: &Facts, label: &str) -> Result<Option<f64>, Error> {
    let sides = (mean(&facts.reference, label)?, mean(&facts.window, label)?);
    Ok(sides.0.zip(sides.1).map(|(before, now)| (now - before).abs()))
}

fn null_rate(window: &RecordBatch, column: &str) -> Result<Option<f64>, Error> {
    let column = named(window, column)?;
    Ok(Bins::freeze(column)?.count(column)?.null_rate())
}

/// Nothing at all is as stale as can be.
fn freshness(facts: &Facts, object: &str, limit: f64) -> CheckResult {
    let newest = facts.newest.get(object).copied().flatten();
    let age = newest.map(|newest| (facts.end - newest).as_seconds_f64());
    CheckResult {
        check: "freshness".to_owned(),
        column: object.to_owned(),
        value: age,
        limit,
        status: age.map_or(Verdict::Fail, |age| at_most(age, None, limit)),
        note: age.is_none().then(|| "there is no row".to_owned()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
fn volume(rows: u64, min: u64) -> CheckResult {
    CheckResult {
        check: "volume".to_owned(),
        column: String::new(),
        value: Some(rows as f64),
        limit: min as f64,
        status: if rows < min { Verdict::Fail } else { Verdict::Ok },
        note: None,
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use arrow::array::{ArrayRef, BooleanArray, Float64Array};

    use super::*;

    fn table(rows: u32, shift: f64, late_every: u32) -> RecordBatch {
        let x: ArrayRef =
            Arc::new(Float64Array::from_iter_values((0..rows).map(|i| f64::from(i % 100) + shift)));
        let late: ArrayRef = Arc::new((0..rows).map(|i| Some(i % late_every == 0)).collect::<BooleanArray>());
        RecordBatch::try_from_iter([("x", x), ("late", late)]).unwrap()
    }

    fn facts(window: RecordBatch) -> Facts {
        Facts {
            reference: table(1000, 0.0, 4),
            window,
            auc_reference: Some(0.77),
            auc: Some(0.70),
            newest: BTreeMap::from([("weather".to_owned(), Some(Time::UNIX_EPOCH))]),
            end: Time::UNIX_EPOCH + Duration::from_hours(2),
        }
    }

    fn checks() -> Vec<Check> {
        let psi = |columns: &[&str]| Check::Drift {
            measure: "psi".into(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            warn: Some(0.1),
            fail: 0.25,
        };
        vec![
            psi(&["x", "gone"]),
            Check::LabelRate { label: "late".into(), max_change: 0.08 },
            Check::Auc { label: "late".into(), max_drop: 0.045 },
            Check::NullRate { column: "x".into(), max: 0.02 },
            Check::Freshness { object: "weather".into(), max: Duration::from_hours(3) },
            Check::Volume { min: 100 },
        ]
    }

    fn statuses(window: RecordBatch) -> Vec<Verdict> {
        let (results, _) = judge_all(&checks(), &facts(window));
        results.into_iter().map(|result| result.status).collect()
    }

    #[test]
    fn each_check_is_judged_by_itself() {
        use Verdict::{Fail, Insufficient, Ok};
        assert_eq!(statuses(table(1000, 0.0, 4)), [Ok, Insufficient, Ok, Fail, Ok, Ok, Ok]);
        assert_eq!(statuses(table(1000, 40.0, 10)), [Fail, Insufficient, Fail, Fail, Ok, Ok, Ok]);
    }

    #[test]
    fn a_window_of_few_rows_is_judged_by_volume_and_freshness_alone() {
        use Verdict::{Fail, Insufficient, Ok};
        let few = [Insufficient, Insufficient, Insufficient, Insufficient, Insufficient, Ok];
        let with_volume = |volume| few.into_iter().chain([volume]).collect::<Vec<_>>();
        assert_eq!(statuses(table(150, 40.0, 4)), with_volume(Ok));
        assert_eq!(statuses(table(0, 0.0, 4)), with_volume(Fail));
    }
}
