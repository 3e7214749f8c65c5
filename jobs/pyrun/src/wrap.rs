//! A model's own files made a model folder, in a process of its own: reading a pickle runs what it says.

use std::path::PathBuf;

use crate::{DatasetFiles, Process, PyError, PyOptions, StepSink, protocol::Request};

/// What is to become a model folder.
#[derive(Clone, Debug)]
pub struct WrapCall {
    /// The folder with the files that a person gave.
    pub given: PathBuf,
    /// An empty folder for what is made.
    pub out: PathBuf,
    /// The flavor that the model declares.
    pub flavor: String,
    /// Rows that the model is asked about, its columns and its outputs.
    pub rows: DatasetFiles,
    /// Whether `rows` is one file of a person's, CSV or Parquet, whose columns are read by name.
    pub sample: bool,
}

impl WrapCall {
    /// Makes the folder; `sink` hears what is printed meanwhile.
    ///
    /// # Errors
    /// [`PyError::Returned`] says why the model can't be served as it is, and what to do; otherwise the process failed.
    pub async fn run(&self, options: &PyOptions, sink: &mut impl StepSink) -> Result<(), PyError> {
        let Self { given, out, flavor, rows, sample } = self;
        let mut process = Process::start(options).await?;
        let request = Request::Wrap { given, out, flavor, dataset: rows, sample: *sample };
        process.call_with(&request, None, sink, options.time_limit).await.map(drop)
    }
}
