//! Defects of the columns that a monitor watches, as results of their own. Pure.
//!
//! A window is judged by the values that can be told; what can't be told must not make it look well.

use arrow::array::RecordBatch;
use tidemill_spec::Check;

use crate::{
    CheckResult, ColumnReport, Defect, DefectKind, Side, Verdict, counts::share, defect, facts::Facts,
    verdict::judge,
};

/// By how much the share of defective rows may exceed the reference's.
const RISE_MAX: f64 = 0.01;
/// Letters of a row that are shown.
const ROW_MAX: usize = 200;

/// One result for each watched column that has a defect in the window.
pub(crate) fn defects(checks: &[Check], facts: &Facts, columns: &[ColumnReport]) -> Vec<CheckResult> {
    let mut results: Vec<CheckResult> = Vec::new();
    if facts.rows() == 0 {
        return results;
    }
    for (column, role) in watched(checks) {
        if results.iter().all(|known| known.column != column) {
            results.extend(of_column(facts, columns, column, role));
        }
    }
    results
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Value,
    Label,
}

fn watched(checks: &[Check]) -> impl Iterator<Item = (&str, Role)> {
    checks.iter().flat_map(|check| {
        let (columns, role) = match check {
            Check::Drift { columns, .. } => (columns.as_slice(), Role::Value),
            Check::NullRate { column, .. } => (std::slice::from_ref(column), Role::Value),
            Check::LabelRate { label, .. } | Check::Auc { label, .. } => {
                (std::slice::from_ref(label), Role::Label)
            }
            Check::Freshness { .. } | Check::Volume { .. } => (&[][..], Role::Value),
        };
        columns.iter().map(move |column| (column.as_str(), role))
    })
}

fn of_column(facts: &Facts, columns: &[ColumnReport], column: &str, role: Role) -> Option<CheckResult> {
    let Some(values) = facts.window.column_by_name(column) else {
        // A label of another model is told by its own check.
        return (role == Role::Value)
            .then(|| whole(column, Verdict::Fail, "the column is missing".to_owned()));
    };
    let found: Vec<Defect> = match columns.iter().find(|report| report.column == column) {
        Some(report) => report.defects.clone(),
        None => defect::of_floats(values, Side::Current),
    };
    if let Some(defect) = found.iter().find(|defect| defect.kind.is_whole()) {
        let verdict = if defect.kind == DefectKind::New { Verdict::Warn } else { Verdict::Fail };
        return Some(whole(column, verdict, defect.to_string()));
    }
    // To figures NaN is null, and has its place there; a label must say something.
    let counts = |defect: &&Defect| role == Role::Label || defect.kind != DefectKind::Nan;
    let of_side = |side| found.iter().filter(counts).filter(move |defect| defect.side == side);
    let sum = |side, all| share(of_side(side).map(|defect| defect.rows).sum(), all).unwrap_or(0.0);
    let here: Vec<&Defect> = of_side(Side::Current).collect();
    let first = here.first()?;
    let before = sum(Side::Reference, facts.reference.num_rows() as u64);
    let (now, limit) = (sum(Side::Current, facts.rows()), before + RISE_MAX);
    let told: Vec<String> = here.iter().map(ToString::to_string).collect();
    let row = first.first_row.and_then(|row| shown(&facts.window, row)).unwrap_or_default();
    Some(CheckResult {
        check: "defects".to_owned(),
        column: column.to_owned(),
        value: Some(now),
        warn: Some(before),
        limit,
        status: judge(Some(now), facts.rows(), Some(before), limit),
        note: Some(format!("{}{row}", told.join("; "))),
    })
}

/// Nothing can be told of a column.
fn whole(column: &str, status: Verdict, note: String) -> CheckResult {
    let (check, column) = ("defects".to_owned(), column.to_owned());
    CheckResult { check, column, value: Some(1.0), warn: None, limit: RISE_MAX, status, note: Some(note) }
}

/// A row as JSON, the beginning of a long one.
fn shown(rows: &RecordBatch, row: u64) -> Option<String> {
    let place = usize::try_from(row.checked_sub(1)?).ok().filter(|place| *place < rows.num_rows())?;
    let told = tidemill_rows::json_rows(&rows.slice(place, 1)).ok()?.into_iter().next()?;
    let text = serde_json::Value::Object(told).to_string();
    let short: String = text.chars().take(ROW_MAX).collect();
    Some(if short.len() < text.len() { format!(": {short}…") } else { format!(": {short}") })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use tidemill_core::Time;

    use super::*;
    use crate::judge::judge_all;

    fn numbers(name: &str, values: impl IntoIterator<Item = f64>) -> RecordBatch {
        let column: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
        RecordBatch::try_from_iter([(name, column)]).unwrap()
    }

    fn facts(reference: RecordBatch, window: RecordBatch) -> Facts {
        Facts {
            reference,
            window,
            auc_reference: None,
            auc: None,
            learnt: false,
            newest: BTreeMap::new(),
            end: Time::UNIX_EPOCH,
            label: None,
            due: Time::UNIX_EPOCH,
            now: Time::UNIX_EPOCH,
            awaited: Vec::new(),
        }
    }

    fn said(check: Check, facts: &Facts) -> Vec<(String, Verdict, String)> {
        let (results, _) = judge_all(&[check], facts);
        let one = |result: CheckResult| (result.check, result.status, result.note.unwrap_or_default());
        results.into_iter().map(one).collect()
    }

    fn psi(column: &str) -> Check {
        Check::Drift { measure: "psi".into(), columns: vec![column.to_owned()], warn: None, fail: 0.25 }
    }

    fn count(count: u32) -> impl Iterator<Item = f64> {
        (0..count).map(|row| f64::from(row % 50))
    }

    #[test]
    fn a_window_of_infinities_fails_and_one_among_many_is_shown_with_its_row() {
        let before = numbers("x", count(500));
        let all = facts(before.clone(), numbers("x", (0..300).map(|_| f64::INFINITY)));
        let told = said(psi("x"), &all);
        assert_eq!((told[0].1, told[1].1), (Verdict::Insufficient, Verdict::Fail));
        assert!(told[1].2.starts_with("infinite in 300 rows, the first is row 1: {"), "{}", told[1].2);
        let one = facts(before, numbers("x", count(299).chain([f64::NEG_INFINITY])));
        let told = said(psi("x"), &one);
        assert_eq!((told[0].1, told[1].1), (Verdict::Ok, Verdict::Warn));
        assert!(told[1].2.starts_with("infinite in row 300"), "{}", told[1].2);
        // What the reference had as well is nothing new.
        let usual = numbers("x", count(299).chain([f64::NEG_INFINITY]));
        assert_eq!(said(psi("x"), &facts(usual.clone(), usual))[1].1, Verdict::Ok);
    }

    #[test]
    fn a_column_that_is_gone_or_of_another_kind_is_an_alert() {
        let before = numbers("x", count(500));
        let renamed = facts(before.clone(), numbers("y", count(500)));
        let told = said(psi("x"), &renamed);
        assert_eq!(
            (told[1].0.as_str(), told[1].1, told[1].2.as_str()),
            ("defects", Verdict::Fail, "the column is missing")
        );
        let null_rate = Check::NullRate { column: "x".into(), max: 0.1 };
        assert_eq!(said(null_rate, &renamed)[1].1, Verdict::Fail);
        let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..500).map(|row| row.to_string())));
        let words = RecordBatch::try_from_iter([("x", words)]).unwrap();
        let told = said(psi("x"), &facts(before.clone(), words));
        assert_eq!(
            (told[1].1, told[1].2.as_str()),
            (Verdict::Fail, "a number in the reference, a category here")
        );
        // One that the reference can't have had is shown.
        assert_eq!(said(psi("y"), &facts(before, numbers("y", count(500))))[1].1, Verdict::Warn);
    }

    #[test]
    fn a_label_that_is_nan_is_a_defect_and_the_rate_is_of_the_others() {
        let truths = |rows: u32| (0..rows).map(|row| f64::from(row % 4 == 0));
        let (before, now) = (numbers("late", truths(400)), numbers("late", truths(400).chain([f64::NAN; 8])));
        let rate = Check::LabelRate { label: "late".into(), max_change: 0.08 };
        let (results, _) = judge_all(&[rate], &facts(before, now));
        assert_eq!((results[0].value, results[0].status), (Some(0.0), Verdict::Ok));
        assert_eq!((results[1].check.as_str(), results[1].status), ("defects", Verdict::Fail));
        assert!(results[1].note.as_ref().unwrap().starts_with("NaN in 8 rows, the first is row 401"));
    }
}
