//! Two tables against each other: what `tidemill monitors compare` prints. The same figures as a monitor's.

use std::{path::Path, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, Float64Array, RecordBatch},
    datatypes::FieldRef,
};
use serde::{Deserialize, Serialize};

use crate::{ColumnReport, Error, column::compare_column, report};

/// How the columns of a table compare with a reference's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompareReport {
    /// In the order asked for, else the reference's.
    pub columns: Vec<ColumnReport>,
}

impl CompareReport {
    /// One self-contained page.
    pub fn to_html(&self) -> String {
        report::comparison(&self.columns)
    }
}

/// Compares two files (Parquet, CSV or JSON lines). Needs no server.
///
/// # Errors
/// A file can't be read, a side lacks a column, or its values can't be compared.
pub async fn compare_files(
    reference: &Path,
    current: &Path,
    columns: &[String],
) -> Result<CompareReport, Error> {
    compare(&read(reference).await?, &read(current).await?, columns)
}

async fn read(path: &Path) -> Result<RecordBatch, Error> {
    if !path.is_file() {
        return Err(Error::MissingFile(path.to_owned()));
    }
    let rows = tidemill_offline::read::read_file(path).await?;
    if path.extension().is_some_and(|end| end == "csv") { told_numbers(&rows) } else { Ok(rows) }
}

/// A CSV says nothing of types, and who guesses them takes a column that begins with `inf` for text.
fn told_numbers(rows: &RecordBatch) -> Result<RecordBatch, Error> {
    let column = |(field, column): (&FieldRef, &ArrayRef)| {
        let numbers: Option<Float64Array> = column.as_string_opt::<i32>().and_then(|words| {
            let number = |word: Option<&str>| {
                word.map(|word| word.trim().parse().ok()).map_or(Some(None), |n| n.map(Some))
            };
            words.iter().map(number).collect::<Option<Vec<Option<f64>>>>().map(Float64Array::from)
        });
        let numbers = numbers.filter(|numbers| numbers.null_count() < numbers.len());
        let column = numbers.map_or_else(|| Arc::clone(column), |numbers| -> ArrayRef { Arc::new(numbers) });
        (field.name().clone(), column, true)
    };
    let schema = rows.schema();
    if rows.num_columns() == 0 {
        return Ok(rows.clone());
    }
    Ok(RecordBatch::try_from_iter_with_nullable(schema.fields().iter().zip(rows.columns()).map(column))?)
}

/// Compares `columns`; without any, all that both sides have.
///
/// # Errors
/// A side lacks a column, they share none, or the values of one can't be compared.
pub fn compare(
    reference: &RecordBatch,
    current: &RecordBatch,
    columns: &[String],
) -> Result<CompareReport, Error> {
    let names = |rows: &RecordBatch| -> Vec<String> {
        rows.schema().fields().iter().map(|field| field.name().clone()).collect()
    };
    let shared: Vec<String> =
        names(reference).into_iter().filter(|name| current.column_by_name(name).is_some()).collect();
    if columns.is_empty() && shared.is_empty() {
        return Err(Error::NothingShared { reference: names(reference), current: names(current) });
    }
    let columns = if columns.is_empty() { &shared } else { columns };
    let columns = columns.iter().map(|column| compare_column(reference, current, column));
    Ok(CompareReport { columns: columns.collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[tokio::test]
    async fn two_files_are_compared_without_a_server() {
        let folder = tempfile::tempdir().unwrap();
        let reference = write(folder.path(), "a.csv", "x,k\n1,a\n2,a\n3,b\n4,b\n");
        let current = write(folder.path(), "b.jsonl", "{\"x\":1,\"k\":\"a\"}\n{\"x\":null,\"k\":\"c\"}\n");
        let report = compare_files(&reference, &current, &[]).await.unwrap();
        let [x, k] = &report.columns[..] else { panic!("two columns") };
        assert_eq!((x.kind.as_str(), x.null_rate_current, x.rows_current), ("number", Some(0.5), 2));
        assert_eq!((k.kind.as_str(), k.unseen_rate, k.ks), ("category", Some(0.5), None));
        assert!(x.psi.unwrap() > 0.0);
        let page = report.to_html();
        assert!(page.contains("<svg") && page.len() < 300_000);

        assert_eq!(refused(&reference, &current, &["y"]).await, (902, "its columns are x, k".to_owned()));
    }

    async fn refused(reference: &Path, current: &Path, columns: &[&str]) -> (u16, String) {
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        let fault = compare_files(reference, current, &columns).await.unwrap_err().fault();
        (fault.code.unwrap().0, fault.hint.unwrap())
    }

    #[tokio::test]
    async fn what_cannot_be_compared_is_refused_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = write(folder.path(), "numbers.csv", "x,k\n1,a\n2,b\n");
        let words = write(folder.path(), "words.csv", "x\na\nb\n");
        let lists = write(folder.path(), "lists.jsonl", "{\"x\":[1,2]}\n");
        let other = write(folder.path(), "other.csv", "y\n1\n");
        assert_eq!(refused(&numbers, &words, &[]).await.0, 908);
        assert_eq!(refused(&lists, &lists, &[]).await.0, 908);
        assert_eq!(refused(&numbers, &other, &[]).await.0, 902);
        assert_eq!(refused(&numbers, &folder.path().join("gone.csv"), &[]).await.0, 909);
    }

    #[tokio::test]
    async fn a_number_may_be_infinite_from_the_first_line_of_a_csv() {
        let folder = tempfile::tempdir().unwrap();
        let reference = write(folder.path(), "a.csv", "x,k\n-inf,01\n2.5,02\n\"\",03\nnan,04\n");
        let report = compare_files(&reference, &reference, &["x".to_owned()]).await.unwrap();
        let [x] = &report.columns[..] else { panic!("one column") };
        assert_eq!((x.kind.as_str(), x.infinite_current, x.null_rate_current), ("number", 1, Some(0.5)));
    }

    #[tokio::test]
    async fn dates_beside_timestamps_are_their_midnights() {
        let folder = tempfile::tempdir().unwrap();
        let days = write(folder.path(), "a.csv", "at\n2013-01-01\n2013-01-02\n");
        let times = write(folder.path(), "b.csv", "at\n2013-01-01 00:00:00\n2013-01-02 00:00:01\n");
        let report = compare_files(&days, &times, &[]).await.unwrap();
        let [at] = &report.columns[..] else { panic!("one column") };
        assert_eq!((at.kind.as_str(), at.bins[0].label.as_str()), ("timestamp", "≤ 2013-01-01T00:00:00Z"));
        assert_eq!(at.bins.iter().map(|bin| bin.current).collect::<Vec<_>>(), [1, 0, 1]);
    }

    #[tokio::test]
    async fn a_side_without_values_has_the_kind_of_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = write(folder.path(), "numbers.csv", "x,y\n1,1\n2,1\n");
        let none = write(folder.path(), "none.csv", "x,y\n");
        let null = write(folder.path(), "null.csv", "x,y\n,1\n,1\n");
        for (reference, current, psi) in [
            (&numbers, &none, false),
            (&none, &numbers, false),
            (&numbers, &null, true),
            (&null, &numbers, true),
        ] {
            let report = compare_files(reference, current, &["x".to_owned()]).await.unwrap();
            let [x] = &report.columns[..] else { panic!("one column") };
            assert_eq!((x.kind.as_str(), x.psi.is_some(), x.known.psi), ("number", psi, None));
        }
    }
}
