//! `ingest`: a pipeline's step that takes files of the worker's machine and is done when their rows are visible.
//!
//! Safe to repeat: the files are fixed in the first checkpoint by the uploads they became, and an upload is published
//! once.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_catalog::Format;
use tidemill_core::{JobError, Kind, UploadId};
use tidemill_offline::upload::files_of;
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{self, INGEST};

use crate::{Error, FileClaim, Ingest, Start, extra::told, staging::hash_file};

/// The job.
#[derive(Debug)]
pub struct StepJob {
    ingest: Ingest,
}

/// Uploads that the files became, in the order of their names; those before `done` are published.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    uploads: Vec<UploadId>,
    done: usize,
}

impl StepJob {
    /// With what it needs.
    pub fn new(ingest: Ingest) -> Self {
        Self { ingest }
    }

    async fn accept(&self, args: &steps::Ingest) -> Result<Vec<UploadId>, Error> {
        let mut uploads = Vec::new();
        for path in matching(&args.path).await? {
            let file = Path::new(&path).to_path_buf();
            let (sha256, size_bytes) = tokio::task::spawn_blocking(move || hash_file(&file))
                .await
                .map_err(std::io::Error::other)??;
            let format = Format::of_name(&path).ok_or_else(|| Error::UnknownFormat(path.clone()))?;
            let claim = FileClaim {
                source: args.source.clone(),
                format: format.to_string(),
                sha256,
                size_bytes,
                file_name: path.rsplit('/').next().unwrap_or(&path).to_owned(),
                force: false,
            };
            let accepted = self.ingest.accept(&claim, Path::new(&path), Start::Caller).await;
            let of_file = |error| Error::File { path: path.clone(), error: Box::new(error) };
            uploads.push(accepted.map_err(of_file)?.upload);
        }
        Ok(uploads)
    }
}

impl Job for StepJob {
    type Args = steps::Ingest;
    type Checkpoint = Progress;
    const KIND: Kind = INGEST;

    async fn run(&self, args: &steps::Ingest, cx: &mut Context<Progress>) -> Result<Outcome, JobError> {
        let Progress { uploads, done } = if let Some(progress) = cx.checkpoint() {
            progress.clone()
        } else {
            let progress = Progress { uploads: self.accept(args).await?, done: 0 };
            cx.save_checkpoint(progress.clone()).await?;
            progress
        };
        for (place, id) in uploads.iter().enumerate().skip(done) {
            let upload = self.ingest.upload(*id).await?;
            if upload.published_at.is_some() {
                continue;
            }
            let digests = self.ingest.digests(&upload, |done, total| cx.progress(done, total)).await?;
            let mut tx = cx.begin().await?;
            let published = self.ingest.publish(&mut tx, &upload, &digests, cx.run()).await?;
            cx.commit_checkpoint(tx, Progress { uploads: uploads.clone(), done: place + 1 }).await?;
            let (name, rows, dead) = (upload.file_name, published.rows, published.dead_letters);
            cx.log(format!("{name}: {rows} rows, {dead} dead letters"));
            if let Some(ignored) = told(&published.ignored) {
                cx.log(format!("{name}: {ignored}"));
            }
        }
        let (mut rows, mut dead_letters) = (0, 0);
        for id in &uploads {
            let upload = self.ingest.upload(*id).await?;
            rows += upload.rows;
            dead_letters += upload.dead_letters;
        }
        Ok(Outcome::Completed(json!({ "uploads": uploads, "rows": rows, "dead_letters": dead_letters })))
    }
}

/// Files that a path or glob names, by name.
async fn matching(path: &str) -> Result<Vec<String>, Error> {
    if path.contains("://") {
        return Err(Error::NoFile(format!("`{path}`: files on another machine are not supported yet")));
    }
    let pattern = path.to_owned();
    let files =
        tokio::task::spawn_blocking(move || files_of(&pattern)).await.map_err(std::io::Error::other)?;
    let files = files.map_err(|error| Error::NoFile(format!("`{path}`: {error}")))?;
    if files.is_empty() { Err(Error::NoFile(format!("no file matches `{path}`"))) } else { Ok(files) }
}
