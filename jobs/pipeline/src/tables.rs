//! Tables of the lake and datasets by name, and files that people read.

use std::path::Path;

use arrow::array::RecordBatch;
use tidemill_catalog::DatasetPartRef;
use tidemill_core::{Cause, Fault, JobError, Time};
use tidemill_offline::{Filter, Lake, Read, Table, View};
use tidemill_rows::VALID_AT;
use tidemill_spec::ViewKind;

use crate::{Deps, moment::Moment};

/// A whole table as of a moment: `source/NAME`, `view/NAME` (its current version; of a window view the values at the
/// moment, a row an entity), `dead/NAME`, `predictions/MODEL` or `dataset/ID`.
pub(crate) async fn read(deps: &Deps, name: &str, moment: Moment) -> Result<RecordBatch, JobError> {
    if let Some(text) = name.strip_prefix("dataset/") {
        let part: DatasetPartRef = text.parse().map_err(JobError::discard)?;
        let (_, part) = deps.catalog.dataset_part(part).await?;
        let bytes = deps.blobs.get_at(&part.path).await?;
        return tidemill_rows::parquet::read(bytes).map_err(JobError::discard);
    }
    let Moment { version, at } = moment;
    let table = match name.strip_prefix("view/") {
        Some(view) => {
            let current = deps.catalog.current_view(view).await?.ok_or_else(|| unknown(name))?;
            let objects = deps.catalog.objects().await?;
            let view = View::new(&objects, &current.definition, current.version);
            let view = view.ok_or_else(|| unknown(name))?;
            if view.kind() == ViewKind::Windows {
                return Ok(deps.lake.windows_at(&view, version, at).await?);
            }
            view.table()
        }
        None => Table::from(name.to_owned()),
    };
    if deps.lake.files(&table, version).await?.is_empty() {
        return Err(unknown(name));
    }
    // Rows of a source or a view count from a moment on; others have happened.
    let counted = ["source/", "view/"].iter().any(|kind| name.starts_with(kind));
    let tick = chrono::TimeDelta::microseconds(1);
    let between = counted.then(|| (VALID_AT.to_owned(), Time::MIN_UTC, at + tick));
    let filter = Filter { between, ..Filter::default() };
    Ok(deps.lake.read(&Read { filter, ..Read::all(table, version) }).await?)
}

/// Rows of a query over the lake as of a moment; sources and current views go by their names.
pub(crate) async fn query(deps: &Deps, query: &str, moment: Moment) -> Result<RecordBatch, JobError> {
    let objects = deps.catalog.objects().await?;
    let versions = deps.catalog.current_views().await?;
    let view =
        |version: &tidemill_catalog::ViewVersion| View::new(&objects, &version.definition, version.version);
    let views: Vec<View> = versions.iter().filter_map(view).collect();
    let lake: &Lake = &deps.lake;
    Ok(lake.sql(query, &objects, &views, moment.version, moment.at).await?)
}

/// Writes rows to a local file, Parquet or CSV by its ending. It appears whole; a repeat replaces it.
pub(crate) async fn write(rows: RecordBatch, path: &str) -> Result<(), JobError> {
    if path.contains("://") {
        let message = format!("`{path}`: writing to an object store is not supported yet");
        return Err(JobError::Discard(Fault::coded(324, message).hint("name a local path")));
    }
    let path = path.to_owned();
    let written = tokio::task::spawn_blocking(move || write_file(&rows, Path::new(&path)));
    written.await.map_err(JobError::retry)?
}

fn write_file(rows: &RecordBatch, path: &Path) -> Result<(), JobError> {
    let bytes = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => tidemill_rows::parquet::write(rows).map_err(JobError::discard)?.to_vec(),
        Some("csv") => tidemill_rows::csv::write(rows).map_err(JobError::discard)?,
        _ => {
            let message = format!("`{}` ends neither in .parquet nor in .csv", path.display());
            return Err(JobError::Discard(Fault::coded(324, message)));
        }
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let replace = || {
        std::fs::create_dir_all(folder)?;
        let mut partial = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut partial, &bytes)?;
        partial.persist(path).map(drop).map_err(|error| error.error)
    };
    replace().map_err(|error| {
        let fault = Fault::new(format!("`{}` can't be written: {error}", path.display()));
        Cause::of_io(&error).verdict(fault)
    })
}

fn unknown(name: &str) -> JobError {
    let hint = "tables are source/NAME, view/NAME, dead/NAME, predictions/MODEL and dataset/ID";
    JobError::Discard(Fault::coded(325, format!("there is no table `{name}` with rows")).hint(hint))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn rows() -> RecordBatch {
        let names = Arc::new(StringArray::from(vec![Some("a"), None]));
        RecordBatch::try_from_iter([("name", names as _), ("n", Arc::new(Int64Array::from(vec![1, 2])) as _)])
            .unwrap()
    }

    #[test]
    fn a_file_is_written_whole_by_its_ending() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("out/rows.csv");
        write_file(&rows(), &csv).unwrap();
        write_file(&rows(), &csv).unwrap();
        assert_eq!(std::fs::read_to_string(&csv).unwrap(), "name,n\na,1\n,2\n");
        let parquet = folder.path().join("rows.parquet");
        write_file(&rows(), &parquet).unwrap();
        let back = tidemill_rows::parquet::read(std::fs::read(&parquet).unwrap().into()).unwrap();
        assert_eq!(back, rows());
        let error = write_file(&rows(), &folder.path().join("rows.xlsx")).unwrap_err();
        assert!(error.to_string().contains("TM0324"), "{error}");
    }
}
