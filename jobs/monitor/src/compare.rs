//! Two tables against each other: what `tidemill monitors compare` prints. The same figures as a monitor's.

use std::path::Path;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::{
    ColumnReport, Error,
    column::{Given, compare_given, named},
    report,
};

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

/// Compares two files (Parquet, CSV or JSON lines). Needs no server. A CSV says nothing of types: its columns are read as
/// text and are what the other side's are, or else what nineteen of twenty of their words are.
///
/// # Errors
/// A file can't be read, neither side has one of `columns`, or the two have none in common.
pub async fn compare_files(
    reference: &Path,
    current: &Path,
    columns: &[String],
) -> Result<CompareReport, Error> {
    compare_tables(&read(reference).await?, &read(current).await?, columns)
}

/// A table, and whether its text is words that say nothing of types.
struct Table {
    rows: RecordBatch,
    words: bool,
}

async fn read(path: &Path) -> Result<Table, Error> {
    if !path.is_file() {
        return Err(Error::MissingFile(path.to_owned()));
    }
    let typed = path.extension().is_some_and(|end| end == "parquet" || end == "pq");
    let rows = tidemill_offline::read::read_file(path).await;
    let rows = rows.map_err(|source| Error::File { path: path.to_owned(), source: Box::new(source) })?;
    Ok(Table { rows, words: !typed })
}

/// Compares `columns`; without any, all that either side has. A column that can't be compared is reported with its
/// defect, like the others.
///
/// # Errors
/// Neither side has one of `columns`, or the two have none in common.
pub fn compare(
    reference: &RecordBatch,
    current: &RecordBatch,
    columns: &[String],
) -> Result<CompareReport, Error> {
    let table = |rows: &RecordBatch| Table { rows: rows.clone(), words: false };
    compare_tables(&table(reference), &table(current), columns)
}

fn compare_tables(reference: &Table, current: &Table, columns: &[String]) -> Result<CompareReport, Error> {
    let names = |table: &Table| -> Vec<String> {
        table.rows.schema().fields().iter().map(|field| field.name().clone()).collect()
    };
    let (mut all, now) = (names(reference), names(current));
    if columns.is_empty() && !all.iter().any(|name| now.contains(name)) {
        return Err(Error::NothingShared { reference: all, current: now });
    }
    let new: Vec<String> = now.into_iter().filter(|name| !all.contains(name)).collect();
    all.extend(new);
    let columns = if columns.is_empty() { &all } else { columns };
    let compared = columns.iter().map(|column| {
        if !all.contains(column) {
            named(&reference.rows, column, "both tables")?;
        }
        let [before, now] = [reference, current]
            .map(|table| table.rows.column_by_name(column).map(|array| Given { array, words: table.words }));
        compare_given(column, before, now)
    });
    Ok(CompareReport { columns: compared.collect::<Result<_, _>>()? })
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

        assert_eq!(refused(&reference, &current, &["y"]).await, (902, "columns are x, k".to_owned()));
    }

    async fn refused(reference: &Path, current: &Path, columns: &[&str]) -> (u16, String) {
        let columns: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
        let fault = compare_files(reference, current, &columns).await.unwrap_err().fault();
        (fault.code.unwrap().0, fault.hint.unwrap())
    }

    #[tokio::test]
    async fn a_file_without_a_column_in_common_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = write(folder.path(), "numbers.csv", "x,k\n1,a\n2,b\n");
        let other = write(folder.path(), "other.csv", "y\n1\n");
        assert_eq!(refused(&numbers, &other, &[]).await.0, 902);
        assert_eq!(refused(&numbers, &folder.path().join("gone.csv"), &[]).await.0, 909);
    }

    #[tokio::test]
    async fn a_column_that_cannot_be_compared_says_why_beside_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let before = write(
            folder.path(),
            "a.jsonl",
            "{\"x\":1,\"l\":[1],\"gone\":1,\"y\":5}\n{\"x\":2,\"l\":[2],\"gone\":1,\"y\":5}\n",
        );
        let now = write(folder.path(), "b.csv", "x,l,y,new\na,1,5,1\nb,2,6,1\n");
        let report = compare_files(&before, &now, &[]).await.unwrap();
        let told: Vec<(&str, String)> = report
            .columns
            .iter()
            .map(|column| {
                let defects = column.defects.iter().map(ToString::to_string);
                (column.column.as_str(), defects.collect::<Vec<_>>().join("; "))
            })
            .collect();
        assert_eq!(
            told,
            [
                ("x", "the other side has a number, but here `a` is not a number".to_owned()),
                ("l", "the other side has a number, but here `[1]` is not a number".to_owned()),
                ("gone", "the column is missing: the reference has it".to_owned()),
                ("y", String::new()),
                ("new", "the column is new: the reference does not have it".to_owned()),
            ]
        );
        assert!(report.columns[3].psi.is_some() && report.columns[0].psi.is_none());
        assert!(report.to_html().contains("the column is missing"));
    }

    #[tokio::test]
    async fn what_a_file_begins_with_does_not_decide_its_types() {
        let folder = tempfile::tempdir().unwrap();
        let value = |row: u32| if row < 20_481 { f64::from(row % 3) } else { 0.5 };
        let lines: Vec<String> = (0..25_000).map(|row| value(row).to_string()).collect();
        let text = format!("x\n{}\n", lines.join("\n"));
        let (csv, broken) =
            (write(folder.path(), "a.csv", &text), write(folder.path(), "b.csv", &format!("{text}abc\n")));
        let json = lines.iter().map(|line| format!("{{\"x\":{line}}}\n")).collect::<String>();
        let json = write(folder.path(), "a.jsonl", &json);
        let column = arrow::array::Float64Array::from_iter_values((0..25_000).map(value));
        let rows = RecordBatch::try_from_iter([("x", std::sync::Arc::new(column) as _)]).unwrap();
        let parquet = folder.path().join("a.parquet");
        std::fs::write(&parquet, tidemill_rows::parquet::write(&rows).unwrap()).unwrap();
        for same in [&csv, &json, &parquet, &broken] {
            let report = compare_files(&parquet, same, &[]).await.unwrap();
            let [x] = &report.columns[..] else { panic!("one column") };
            assert_eq!((x.psi, x.ks_exact), (Some(0.0), Some(0.0)), "{}", same.display());
        }
        // One late word is a defect with its row, and no null.
        for before in [&csv, &parquet] {
            let report = compare_files(before, &broken, &[]).await.unwrap();
            let [defect] = &report.columns[0].defects[..] else { panic!("one defect") };
            assert_eq!(defect.to_string(), "`abc` is not a number in row 25001");
            assert_eq!(report.columns[0].null_rate_current, Some(0.0));
        }
    }

    #[tokio::test]
    async fn a_line_that_is_no_csv_is_named_and_no_other_separator_is_guessed() {
        let folder = tempfile::tempdir().unwrap();
        let good = write(folder.path(), "good.csv", "x,y\n1,2\n");
        for (name, text, line) in [("long.csv", "x,y\n1,2\n3,4,5\n", 3), ("short.csv", "x,y\n1\n2,3\n", 2)] {
            let path = write(folder.path(), name, text);
            let fault = compare_files(&good, &path, &[]).await.unwrap_err().fault();
            assert_eq!(fault.code.unwrap().0, 503, "{fault}");
            assert!(fault.message.contains(&format!("line {line} has ")), "{fault}");
            assert!(
                !fault.message.contains("Possible fixes") && !fault.message.contains("sample_size"),
                "{fault}"
            );
        }
        // Line ends of another system, and an empty field.
        let crlf = write(folder.path(), "crlf.csv", "x,y\r\n1,2\r\n,2\r\n");
        let report = compare_files(&good, &crlf, &[]).await.unwrap();
        let [x, y] = &report.columns[..] else { panic!("two columns") };
        assert_eq!((x.kind.as_str(), x.null_rate_current, y.ks_exact), ("number", Some(0.5), Some(0.0)));
        let other = write(folder.path(), "semi.csv", "x;y\n1;2\n");
        assert_eq!(refused(&good, &other, &[]).await.0, 503);
    }

    #[tokio::test]
    async fn columns_that_differ_by_case_alone_are_refused_and_the_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let good = write(folder.path(), "good.csv", "a\n1\n");
        let csv = write(folder.path(), "twice.csv", "a,A\n1,2\n");
        let json = write(folder.path(), "twice.jsonl", "{\"a\": 1}\n{\"A\": 2}\n");
        for (reference, current, bad) in [(&good, &csv, &csv), (&json, &good, &json)] {
            let fault = compare_files(reference, current, &[]).await.unwrap_err().fault();
            let expected = format!(
                "[TM0503] `{}`: the file can't be read: columns `a` and `A` differ by case alone",
                bad.display()
            );
            assert_eq!(fault.to_string(), expected);
        }
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
