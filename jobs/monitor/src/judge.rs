//! What the checks of a monitor say of a window. Pure: tables and figures in, results out.

use std::fmt;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use serde::{Deserialize, Serialize};
use tidemill_spec::Check;

use crate::{
    ColumnReport, Error, Verdict,
    column::{compare_column, named},
    counts::share,
    facts::Facts,
    faults::defects,
    verdict::{ROWS_MIN, at_most, judge},
};

/// What one check says of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// `psi`, `js`, `ks`, `label_rate`, `auc`, `null_rate`, `freshness`, `volume` or `defects`.
    pub check: String,
    /// The column, label, source or view; empty for the volume.
    pub column: String,
    /// The figure: a distance, a change, a drop, a share, seconds, or rows.
    pub value: Option<f64>,
    /// What is shown when it is exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<f64>,
    /// What it must not exceed; for the volume, not go below.
    pub limit: f64,
    /// What was said.
    pub status: Verdict,
    /// Why nothing could be said, or what the defects are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, column, limit, .. } = self;
        let value = self.value.map_or_else(|| "unknown".to_owned(), |value| shown(check, value));
        let word = if check == "volume" { "at least" } else { "limit" };
        let subject = if column.is_empty() { "" } else { " " };
        write!(f, "{check}{subject}{column} {value} ({word} {})", shown(check, *limit))
    }
}

/// A figure of a check as people write it: an age in seconds as `2.0 h`, a volume in rows, others to four digits.
pub fn shown(check: &str, value: f64) -> String {
    match check {
        "freshness" if value >= 86_400.0 => format!("{:.1} d", value / 86_400.0),
        "freshness" if value >= 3_600.0 => format!("{:.1} h", value / 3_600.0),
        "freshness" if value >= 60.0 => format!("{:.1} min", value / 60.0),
        "freshness" => format!("{value:.0} s"),
        "volume" => format!("{value:.0} rows"),
        _ => format!("{value:.4}"),
    }
}

/// Judges every check; the second part has the columns whose distribution was compared, each once. A window without any
/// row fails unless a volume says otherwise: a silent monitor is worse than a noisy one.
pub(crate) fn judge_all(checks: &[Check], facts: &Facts) -> (Vec<CheckResult>, Vec<ColumnReport>) {
    let mut results = Vec::new();
    let mut columns: Vec<ColumnReport> = Vec::new();
    for check in checks {
        match check {
            Check::Drift { measure, columns: watched, warn, fail } => {
                for column in watched {
                    let known = columns.iter().find(|report| report.column == *column).cloned();
                    let compared = known.map_or_else(|| compared(facts, column), Ok);
                    let figure = compared.clone().and_then(|report| figure(&report, measure));
                    results.push(drift(facts, (measure, column), figure, (*warn, *fail)));
                    columns.extend(
                        compared.ok().filter(|new| columns.iter().all(|old| old.column != new.column)),
                    );
                }
            }
            Check::LabelRate { label, max_change } => {
                let change = mean_change(facts, label);
                results.push(result(facts, ("label_rate", label), change, (None, *max_change)));
            }
            Check::Auc { label, max_drop } => {
                results.push(result(facts, ("auc", label), auc_drop(facts, label), (None, *max_drop)));
            }
            Check::NullRate { column, max } => {
                let rate = null_rate(&facts.window, column).map_err(|error| note(&error));
                results.push(result(facts, ("null_rate", column), rate, (None, *max)));
            }
            Check::Freshness { object, max } => results.push(freshness(facts, object, max.as_secs_f64())),
            Check::Volume { min } => results.push(volume(facts, *min)),
        }
    }
    results.extend(defects(checks, facts, &columns));
    if facts.rows() == 0 && !checks.iter().any(|check| matches!(check, Check::Volume { .. })) {
        results.push(volume(facts, 1));
    }
    (results, columns)
}

/// Mean of a bool or number over its finite values; none without any.
pub(crate) fn mean(rows: &RecordBatch, column: &str) -> Result<Option<f64>, Error> {
    let values = cast(named(rows, column, "the window")?, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    let known: Vec<f64> = values.iter().flatten().filter(|value| value.is_finite()).collect();
    #[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
    Ok((!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64))
}

/// The figure that is judged, or why there is none.
fn figure(report: &ColumnReport, measure: &str) -> Result<Option<f64>, String> {
    if let Some(whole) = report.defects.iter().find(|defect| defect.kind.is_whole()) {
        return Err(whole.to_string());
    }
    Ok(match measure {
        "js" => report.js,
        // Bins hide what moves within them.
        "ks" => report.ks_exact,
        _ => report.psi,
    })
}

fn compared(facts: &Facts, column: &str) -> Result<ColumnReport, String> {
    compare_column(&facts.reference, &facts.window, column).map_err(|error| note(&error))
}

fn note(error: &Error) -> String {
    error.to_string()
}

fn result(
    facts: &Facts,
    subject: (&str, &str),
    figure: Result<Option<f64>, String>,
    limits: (Option<f64>, f64),
) -> CheckResult {
    judged(subject, figure, facts.rows(), "the window", limits)
}

/// A distance is told from both sides, so few rows on either say nothing.
fn drift(
    facts: &Facts,
    subject: (&str, &str),
    figure: Result<Option<f64>, String>,
    limits: (Option<f64>, f64),
) -> CheckResult {
    let reference = facts.reference.num_rows() as u64;
    let (rows, side) =
        if reference < facts.rows() { (reference, "the reference") } else { (facts.rows(), "the window") };
    judged(subject, figure, rows, side, limits)
}

fn judged(
    (check, column): (&str, &str),
    figure: Result<Option<f64>, String>,
    rows: u64,
    side: &str,
    (warn, limit): (Option<f64>, f64),
) -> CheckResult {
    let few =
        || (rows < ROWS_MIN).then(|| format!("{side} has {rows} rows; the check needs at least {ROWS_MIN}"));
    let (value, note) = match figure {
        _ if rows == 0 => (None, few()),
        Ok(value) => (
            value,
            few().or_else(|| value.is_none().then(|| "there are no values to compute it from".into())),
        ),
        Err(note) => (None, Some(note)),
    };
    let status = judge(value, rows, warn, limit);
    CheckResult { check: check.to_owned(), column: column.to_owned(), value, warn, limit, status, note }
}

fn mean_change(facts: &Facts, label: &str) -> Result<Option<f64>, String> {
    let means = mean(&facts.reference, label).and_then(|before| Ok((before, mean(&facts.window, label)?)));
    let (before, now) = means.map_err(|error| note(&error))?;
    Ok(before.zip(now).map(|(before, now)| (now - before).abs()))
}

/// Below the AUC of the holdout; negative where the window's is better.
fn auc_drop(facts: &Facts, label: &str) -> Result<Option<f64>, String> {
    match &facts.label {
        Some(trained) if trained != label => Err(format!("the version predicts `{trained}`, not `{label}`")),
        _ if facts.learnt => Err("the version was trained or evaluated on rows of this window".to_owned()),
        _ if facts.auc_reference.is_none() => {
            Err("no AUC on a holdout was recorded when the version was registered".to_owned())
        }
        _ if facts.auc.is_none() => {
            Err("the window's labels are all of one class, or are not bools".to_owned())
        }
        _ => Ok(facts.auc_reference.zip(facts.auc).map(|(before, now)| before - now)),
    }
}

fn null_rate(window: &RecordBatch, column: &str) -> Result<Option<f64>, Error> {
    let column = named(window, column, "the window")?;
    let nan = |column: &ArrayRef| {
        column
            .as_primitive_opt::<Float64Type>()
            .map_or(0, |values| values.iter().flatten().filter(|value| value.is_nan()).count())
    };
    let nulls = column.logical_null_count() + nan(column);
    Ok(share(nulls as u64, column.len() as u64))
}

/// Nothing at all is as stale as can be.
fn freshness(facts: &Facts, object: &str, limit: f64) -> CheckResult {
    let newest = facts.newest.get(object).copied().flatten();
    let age = newest.map(|newest| (facts.end - newest).as_seconds_f64());
    CheckResult {
        check: "freshness".to_owned(),
        column: object.to_owned(),
        value: age,
        warn: None,
        limit,
        status: age.map_or(Verdict::Fail, |age| at_most(age, None, limit)),
        note: age.is_none().then(|| "there are no rows".to_owned()),
    }
}

/// Labels that can't be known yet are nobody's fault.
#[expect(clippy::cast_precision_loss, reason = "row counts are far below 2^52")]
fn volume(facts: &Facts, min: u64) -> CheckResult {
    let rows = facts.rows();
    let early = facts.label.as_ref().filter(|_| !facts.is_due());
    let (status, note) = match early {
        _ if rows >= min => (Verdict::Ok, None),
        Some(label) => {
            let due = facts.due.to_rfc3339();
            (
                Verdict::Insufficient,
                Some(format!("labels `{label}` of the window may still arrive until {due}")),
            )
        }
        None => (Verdict::Fail, (rows == 0).then(|| "the window has no rows".to_owned())),
    };
    CheckResult {
        check: "volume".to_owned(),
        column: String::new(),
        value: Some(rows as f64),
        warn: None,
        limit: min as f64,
        status,
        note,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc, time::Duration};

    use arrow::array::{BooleanArray, Float64Array};
    use tidemill_core::Time;

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
            learnt: false,
            newest: BTreeMap::from([("weather".to_owned(), Some(Time::UNIX_EPOCH))]),
            end: Time::UNIX_EPOCH + Duration::from_hours(2),
            label: Some("late".to_owned()),
            due: Time::UNIX_EPOCH + Duration::from_hours(4),
            now: Time::UNIX_EPOCH + Duration::from_hours(4),
            awaited: Vec::new(),
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
        // The last is of the column that is watched and isn't there.
        assert_eq!(statuses(table(1000, 0.0, 4)), [Ok, Insufficient, Ok, Fail, Ok, Ok, Ok, Fail]);
        assert_eq!(statuses(table(1000, 40.0, 10)), [Fail, Insufficient, Fail, Fail, Ok, Ok, Ok, Fail]);
    }

    #[test]
    fn a_window_of_few_rows_is_judged_by_volume_and_freshness_alone() {
        use Verdict::{Fail, Insufficient, Ok};
        let few = [Insufficient, Insufficient, Insufficient, Insufficient, Insufficient, Ok];
        let with_volume = |volume| few.into_iter().chain([volume]).collect::<Vec<_>>();
        // That a column isn't there needs no rows to be told.
        assert_eq!(statuses(table(150, 40.0, 4)), [with_volume(Ok), vec![Fail]].concat());
        assert_eq!(statuses(table(0, 0.0, 4)), with_volume(Fail));
    }

    #[test]
    fn a_reference_of_few_rows_says_nothing_of_drift() {
        let few = Facts { reference: table(150, 0.0, 4), ..facts(table(1000, 40.0, 4)) };
        let (results, columns) = judge_all(&checks()[..1], &few);
        assert_eq!(results[0].status, Verdict::Insufficient);
        assert!(results[0].value.unwrap() > 0.25 && columns.len() == 1);
        assert_eq!(
            results[0].note.as_deref(),
            Some("the reference has 150 rows; the check needs at least 200")
        );
    }

    #[test]
    fn a_window_without_rows_fails_unless_its_labels_may_still_come() {
        let status =
            |facts: &Facts, checks: &[Check]| judge_all(checks, facts).0.pop().map(|result| result.status);
        let silent = facts(table(0, 0.0, 4));
        let checks = checks();
        assert_eq!(status(&silent, &checks[..1]), Some(Verdict::Fail));
        assert_eq!(status(&silent, &[Check::Volume { min: 0 }]), Some(Verdict::Ok));
        let early = Facts { now: Time::UNIX_EPOCH, ..silent.clone() };
        assert_eq!(status(&early, &checks[..1]), Some(Verdict::Insufficient));
        // A table has no labels to wait for.
        let table = Facts { label: None, ..early };
        assert_eq!(status(&table, &checks[..1]), Some(Verdict::Fail));
    }

    #[test]
    fn a_check_of_another_label_than_the_version_predicts_is_told() {
        let check = [Check::Auc { label: "gone".into(), max_drop: 0.1 }];
        let (results, _) = judge_all(&check, &facts(table(1000, 0.0, 4)));
        assert_eq!(results[0].note.as_deref(), Some("the version predicts `late`, not `gone`"));
        assert_eq!(results[0].status, Verdict::Insufficient);
    }

    #[test]
    fn a_column_is_compared_once_however_many_checks_it_has() {
        let drift = |measure: &str| Check::Drift {
            measure: measure.into(),
            columns: vec!["x".into()],
            warn: Some(0.01),
            fail: 0.9,
        };
        let (results, columns) = judge_all(&[drift("psi"), drift("ks")], &facts(table(1000, 40.0, 4)));
        assert_eq!(columns.len(), 1);
        assert_eq!(
            results.iter().map(|result| result.status).collect::<Vec<_>>(),
            [Verdict::Fail, Verdict::Warn]
        );
    }
}
