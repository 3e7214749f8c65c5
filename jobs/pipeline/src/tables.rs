//! Tables of the lake and datasets by name, and files that people read.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::array::RecordBatch;
use tempfile::NamedTempFile;
use tidemill_catalog::{Catalog, DatasetPartRef};
use tidemill_core::{Fault, JobError, Time};
use tidemill_offline::{Filter, Lake, Queried, Read, Table, Version, View};
use tidemill_rows::{
    VALID_AT,
    out::{Format, Writer},
};
use tidemill_spec::{ViewKind, steps::unwritable};

use crate::{Deps, moment::Moment};

/// A whole table as of a moment, given to `take` batch by batch: `source/NAME`, `view/NAME` (its current version; of a window
/// view or a derived one the values at the moment, a row an entity), `dead/NAME`, `predictions/MODEL`, `prediction_log/MODEL` or
/// `dataset/ID`. Returns how many rows there are.
pub(crate) async fn read(
    deps: &Deps,
    name: &str,
    moment: Moment,
    mut take: impl FnMut(&RecordBatch) -> Result<(), tidemill_offline::Error> + Send + 'static,
) -> Result<u64, JobError> {
    if let Some(text) = name.strip_prefix("dataset/") {
        let part: DatasetPartRef = text.parse().map_err(JobError::discard)?;
        let (_, part) = deps.catalog.dataset_part(part).await?;
        let path = deps.blobs.fetch(&part.path).await?;
        let read = move || {
            let file = File::open(&path).map_err(|error| tidemill_rows::Error::from(error).of_file(&path))?;
            tidemill_rows::parquet::read_each(file, take)
        };
        return Ok(tokio::task::spawn_blocking(read).await.map_err(JobError::retry)??);
    }
    let Moment { version, at } = moment;
    let read = match name.split_once('/') {
        Some(("view", view)) => {
            let current = deps.catalog.current_view(view).await?.ok_or_else(|| unknown(name))?;
            let view = View::of(&current.plan, current.version);
            if [ViewKind::Windows, ViewKind::Derived].contains(&view.kind()) {
                let values = deps.lake.values_at(&view, version, at).await?;
                take(&values)?;
                return Ok(values.num_rows() as u64);
            }
            Read::all(view.table(), version)
        }
        Some(("source", source)) => {
            let objects = deps.catalog.objects().await?;
            Read::source(objects.sources.get(source).ok_or_else(|| unknown(name))?, version)
        }
        _ => Read::all(Table::from(name.to_owned()), version),
    };
    if deps.lake.files(&read.table, version).await?.is_empty() {
        return Err(unknown(name));
    }
    // Rows of a source or a view count from a moment on; others have happened.
    let counted = ["source/", "view/"].iter().any(|kind| name.starts_with(kind));
    let tick = chrono::TimeDelta::microseconds(1);
    let between = counted.then(|| (VALID_AT.to_owned(), Time::MIN_UTC, at + tick));
    let filter = Filter { between, ..Filter::default() };
    Ok(deps.lake.read_each(&Read { filter, ..read }, take).await?)
}

/// Runs a query over the lake as of a version and a moment; sources and current views go by their names. `take` gets its
/// rows batch by batch.
///
/// # Errors
/// As [`Lake::sql`]; or Postgres can't be reached.
pub async fn query(
    catalog: &Catalog,
    lake: &Lake,
    query: &str,
    as_of: (Version, Time),
    take: impl FnMut(&RecordBatch) -> Result<(), tidemill_offline::Error> + Send + 'static,
) -> Result<Queried, JobError> {
    let objects = catalog.objects().await?;
    let versions = catalog.current_views().await?;
    let views: Vec<View> = versions.iter().map(|current| View::of(&current.plan, current.version)).collect();
    Ok(lake.sql(query, &objects, &views, as_of, take).await?)
}

/// A local file that is being written, Parquet or CSV by its ending, or nowhere. It appears whole; a repeat replaces it.
pub(crate) struct Target(Arc<Mutex<Option<Output>>>);

struct Output {
    path: PathBuf,
    format: Format,
    partial: Option<Writer<NamedTempFile>>,
}

impl Target {
    /// Where rows shall go.
    pub(crate) fn new(path: &str) -> Result<Self, JobError> {
        if let Some((message, hint)) = unwritable(path) {
            return Err(JobError::Discard(Fault::coded(324, message).hint(hint)));
        }
        let path = PathBuf::from(path);
        let csv = path.extension().is_some_and(|ending| ending == "csv");
        let format = if csv { Format::Csv } else { Format::Parquet };
        Ok(Self(Arc::new(Mutex::new(Some(Output { path, format, partial: None })))))
    }

    /// Rows that nobody wants.
    pub(crate) fn nowhere() -> Self {
        Self(Arc::default())
    }

    /// Appends rows as they come; the first ones, which may be none, say which columns there are.
    pub(crate) fn taker(
        &self,
    ) -> impl FnMut(&RecordBatch) -> Result<(), tidemill_offline::Error> + Send + use<> {
        let output = Arc::clone(&self.0);
        move |rows| match output.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(output) => Ok(output.write(rows)?),
            None => Ok(()),
        }
    }

    /// Puts the file in its place.
    pub(crate) fn finish(self) -> Result<(), JobError> {
        let output = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        output.map_or(Ok(()), |output| Ok(output.finish().map_err(tidemill_offline::Error::from)?))
    }
}

impl Output {
    /// With the path, which the system doesn't say.
    fn write(&mut self, rows: &RecordBatch) -> Result<(), tidemill_rows::Error> {
        self.append(rows).map_err(|error| error.of_file(&self.path))
    }

    fn append(&mut self, rows: &RecordBatch) -> Result<(), tidemill_rows::Error> {
        if self.partial.is_none() {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let file = std::fs::create_dir_all(folder).and_then(|()| NamedTempFile::new_in(folder))?;
            self.partial = Some(Writer::open(self.format, file, &rows.schema())?);
        }
        self.partial.as_mut().map_or(Ok(()), |partial| partial.write(rows))
    }

    fn finish(mut self) -> Result<(), tidemill_rows::Error> {
        let Some(partial) = self.partial.take() else { return Ok(()) };
        let put = |partial: Writer<NamedTempFile>| {
            partial.finish()?.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        };
        put(partial).map_err(|error: tidemill_rows::Error| error.of_file(&self.path))
    }
}

fn unknown(name: &str) -> JobError {
    let hint = "tables are source/NAME, view/NAME, dead/NAME, predictions/MODEL, prediction_log/MODEL and dataset/ID";
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

    fn written(path: &Path) -> Result<(), JobError> {
        let target = Target::new(&path.to_string_lossy())?;
        target.taker()(&rows())?;
        target.finish()
    }

    #[test]
    fn a_file_that_cant_be_written_is_named_and_keeps_what_the_system_said() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("taken"), "").unwrap();
        let path = folder.path().join("taken/rows.csv");
        let error = written(&path).unwrap_err();
        let expected = format!("`{}` can't be written or read: File exists", path.display());
        assert!(error.to_string().contains(&expected), "{error}");
        for (number, outage) in [(24, true), (23, true), (28, true), (13, false)] {
            let error = tidemill_rows::Error::from(std::io::Error::from_raw_os_error(number)).of_file(&path);
            let error = JobError::from(tidemill_offline::Error::from(error));
            assert_eq!(matches!(error, JobError::Unavailable(_)), outage, "{error:?}");
            assert!(error.to_string().contains("rows.csv"), "{error}");
        }
    }

    #[test]
    fn a_full_disk_is_waited_for_whatever_the_format() {
        let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        for format in [Format::Csv, Format::Parquet] {
            let write = || -> Result<_, tidemill_rows::Error> {
                let mut writer = Writer::open(format, full(), &rows().schema())?;
                writer.write(&rows())?;
                writer.finish()
            };
            let error = JobError::from(tidemill_offline::Error::from(write().unwrap_err()));
            assert!(matches!(error, JobError::Unavailable(_)), "{format:?}: {error:?}");
        }
    }

    #[test]
    fn a_file_is_written_whole_by_its_ending() {
        let folder = tempfile::tempdir().unwrap();
        let csv = folder.path().join("out/rows.csv");
        written(&csv).unwrap();
        written(&csv).unwrap();
        assert_eq!(std::fs::read_to_string(&csv).unwrap(), "name,n\na,1\n,2\n");
        let parquet = folder.path().join("rows.parquet");
        written(&parquet).unwrap();
        let back = tidemill_rows::parquet::read(std::fs::read(&parquet).unwrap().into()).unwrap();
        assert_eq!(back, rows());
        let error = written(&folder.path().join("rows.xlsx")).unwrap_err();
        assert!(error.to_string().contains("TM0324"), "{error}");
    }
}
