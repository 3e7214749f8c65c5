//! `ingest`: a pipeline's step that takes files and is done when their rows are visible: files of the worker's machine, or
//! objects of a bucket, which are fetched one after the other and not kept.
//!
//! Safe to repeat: the files are fixed in the first checkpoint by the uploads they became, and an upload is published
//! once.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_blobs::{Elsewhere, Found};
use tidemill_catalog::Format;
use tidemill_core::{JobError, Kind, UploadId};
use tidemill_offline::upload::files_of;
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{self, INGEST};

use crate::{Error, FileClaim, Ingest, Start, extra::told, staging::hash_file};

/// The job.
pub struct StepJob {
    ingest: Ingest,
    /// Variables that say how buckets are reached: secrets among them.
    environment: Vec<(String, String)>,
}

impl fmt::Debug for StepJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepJob").field("ingest", &self.ingest).finish_non_exhaustive()
    }
}

/// Uploads that the files became, in the order of their names; those before `done` are published.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    uploads: Vec<UploadId>,
    done: usize,
}

impl StepJob {
    /// With what it needs; buckets are reached as this process's environment says.
    pub fn new(ingest: Ingest) -> Self {
        let variables = std::env::vars_os();
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let of_buckets = variables.filter_map(text).filter(|(name, _)| name.starts_with("AWS_"));
        Self { ingest, environment: of_buckets.collect() }
    }

    /// With another environment.
    #[must_use]
    pub fn under(self, environment: Vec<(String, String)>) -> Self {
        Self { environment, ..self }
    }

    async fn accept(&self, args: &steps::Ingest) -> Result<Vec<UploadId>, Error> {
        let mut uploads = Vec::new();
        if Elsewhere::is_named_by(&args.path) {
            let place = Elsewhere::of(&args.path, self.environment.clone())
                .map_err(|error| Error::NoFile(error.to_string()))?;
            let objects = place.found().await?;
            if objects.is_empty() {
                return Err(Error::NoFile(format!("no object matches `{}`", args.path)));
            }
            for object in &objects {
                let accepted = self.accept_object(&args.source, &place, object).await;
                uploads.push(accepted.map_err(|error| of_file(&object.url, error))?);
            }
        } else {
            for path in matching(&args.path).await? {
                let accepted = self.accept_file(&args.source, &path, Path::new(&path)).await;
                uploads.push(accepted.map_err(|error| of_file(&path, error))?);
            }
        }
        Ok(uploads)
    }

    /// What can be said of an object without its bytes is said before they are fetched.
    async fn accept_object(
        &self,
        source: &str,
        place: &Elsewhere,
        object: &Found,
    ) -> Result<UploadId, Error> {
        let limit = self.ingest.limits().file_bytes;
        if object.size_bytes > limit {
            let size = object.size_bytes;
            return Err(Error::Limit(format!("the file has {size} bytes, and {limit} are allowed")));
        }
        Format::of_name(&object.url).ok_or_else(|| Error::UnknownFormat(object.url.clone()))?;
        let file = place.download(object).await?;
        self.accept_file(source, &object.url, &file).await
    }

    async fn accept_file(&self, source: &str, name: &str, file: &Path) -> Result<UploadId, Error> {
        let format = Format::of_name(name).ok_or_else(|| Error::UnknownFormat(name.to_owned()))?;
        let hashed = file.to_path_buf();
        let (sha256, size_bytes) = tokio::task::spawn_blocking(move || hash_file(&hashed))
            .await
            .map_err(std::io::Error::other)??;
        let claim = FileClaim {
            source: source.to_owned(),
            format: format.to_string(),
            sha256,
            size_bytes,
            file_name: name.rsplit('/').next().unwrap_or(name).to_owned(),
            force: false,
        };
        Ok(self.ingest.accept(&claim, file, Start::Caller).await?.upload)
    }
}

fn of_file(path: &str, error: Error) -> Error {
    match error {
        // It names the file itself.
        Error::UnknownFormat(_) => error,
        error => Error::File { path: path.to_owned(), error: Box::new(error) },
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

/// Files of this machine that a path or glob names, by name.
async fn matching(named: &str) -> Result<Vec<String>, Error> {
    let path = named.strip_prefix("file://").unwrap_or(named);
    if path.contains("://") {
        let message =
            format!("`{named}`: files are read from a path, from file:///PATH or from s3://BUCKET/KEY");
        return Err(Error::NoFile(message));
    }
    let pattern = path.to_owned();
    let files =
        tokio::task::spawn_blocking(move || files_of(&pattern)).await.map_err(std::io::Error::other)?;
    let files = files.map_err(|error| Error::NoFile(format!("`{named}`: {error}")))?;
    if files.is_empty() { Err(Error::NoFile(format!("no file matches `{named}`"))) } else { Ok(files) }
}
