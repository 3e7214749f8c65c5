//! Two tables against each other: what `tidemill monitors compare` prints. The same figures as a monitor's.

use std::path::Path;

use arrow::array::RecordBatch;
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
/// A file can't be read, or a side lacks a column.
pub async fn compare_files(
    reference: &Path,
    current: &Path,
    columns: &[String],
) -> Result<CompareReport, Error> {
    let reference = tidemill_offline::read::read_file(reference).await?;
    let current = tidemill_offline::read::read_file(current).await?;
    compare(&reference, &current, columns)
}

/// Compares `columns`; without any, all that both sides have.
///
/// # Errors
/// A side lacks a column, or its type can't be counted.
pub fn compare(
    reference: &RecordBatch,
    current: &RecordBatch,
    columns: &[String],
) -> Result<CompareReport, Error> {
    let schema = reference.schema();
    let shared = schema.fields().iter().map(|field| field.name());
    let shared: Vec<String> = shared.filter(|name| current.column_by_name(name).is_some()).cloned().collect();
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

        let error = compare_files(&reference, &current, &["y".to_owned()]).await.unwrap_err();
        assert_eq!(error.fault().hint.unwrap(), "its columns are x, k");
    }
}
