//! A file is accepted: checked, cut, kept by its hash, and written down with the run that ingests it.
//!
//! One transaction holds the upload, its chunks and the run, so there is neither a receipt without work nor work
//! without a receipt.

use std::path::Path;

use serde_json::json;
use tempfile::NamedTempFile;
use tidemill_catalog::{ChunkPlan, Format, NewUpload};
use tidemill_core::{AttemptPolicy, RunId, UploadId};
use tidemill_spec::{
    Source,
    args::{INGEST_CHUNK, INGEST_PUBLISH, IngestChunk, IngestPublish},
};
use tidemill_store::{NewRun, NewStep, Trigger};

use crate::{
    Error, Ingest, Limits,
    columns::nearest,
    looks::explained,
    plain::{place, plain},
    plan::{Plan, plan},
};

/// A file as its sender announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileClaim {
    /// The source.
    pub source: String,
    /// `csv`, `parquet` or `jsonl`.
    pub format: String,
    /// SHA-256 of the whole file, 64 lower-case hex digits.
    pub sha256: String,
    /// Size of the whole file.
    pub size_bytes: u64,
    /// Its name, for people.
    pub file_name: String,
    /// Ingest it though it was ingested before.
    pub force: bool,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The upload.
    pub upload: UploadId,
    /// The run that ingests it; none where a step does it itself.
    pub run: Option<RunId>,
    /// The same file was accepted before: nothing new was started.
    pub duplicate: bool,
}

/// What has arrived, as it will be written down.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) source: Source,
    pub(crate) format: Format,
    pub(crate) sha256: String,
    pub(crate) size_bytes: u64,
    pub(crate) file_name: String,
    pub(crate) repeat_of: Option<UploadId>,
    pub(crate) push_key: Option<String>,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A run of its own, with a job for each chunk.
    Run,
    /// The caller, in its own job.
    Caller,
}

impl Ingest {
    /// Checks what can be known before a byte has arrived: source, format, size and names.
    pub async fn check(&self, claim: &FileClaim) -> Result<(Source, Format), Error> {
        check_limits(claim, self.limits())?;
        let source = self.source(&claim.source).await?;
        let format =
            Format::parse(&claim.format).ok_or_else(|| Error::UnknownFormat(claim.format.clone()))?;
        Ok((source, format))
    }

    /// A source as it is declared now.
    pub(crate) async fn source(&self, name: &str) -> Result<Source, Error> {
        let mut objects = self.catalog().objects().await?;
        objects.sources.swap_remove(name).ok_or_else(|| {
            let near = nearest(name, objects.sources.keys().map(String::as_str)).map(str::to_owned);
            Error::UnknownSource { name: name.to_owned(), near }
        })
    }

    /// The upload and run of a file that was accepted before.
    pub async fn find(&self, claim: &FileClaim) -> Result<Option<Accepted>, Error> {
        let found = self.catalog().find_upload(&claim.source, &claim.sha256).await?;
        Ok(found.map(|(upload, run)| Accepted { upload, run, duplicate: true }))
    }

    /// Accepts a local file whose hash is what was claimed; durable when this returns.
    ///
    /// # Errors
    /// When the file is not of its format, or its columns are not the source's: then nothing is kept of it.
    pub async fn accept(&self, claim: &FileClaim, file: &Path, start: Start) -> Result<Accepted, Error> {
        let (source, format) = self.check(claim).await?;
        let before = self.find(claim).await?;
        if let Some(before) = before.filter(|_| !claim.force) {
            return Ok(before);
        }
        let arrival = Arrival {
            source,
            format,
            sha256: claim.sha256.clone(),
            size_bytes: claim.size_bytes,
            file_name: claim.file_name.clone(),
            repeat_of: before.map(|before| before.upload),
            push_key: None,
        };
        match self.take(arrival, file, start).await? {
            Some(accepted) => Ok(accepted),
            // Another gateway took the same file in the same moment.
            None => self.find(claim).await?.ok_or_else(|| Error::Mismatch("the upload vanished".to_owned())),
        }
    }

    /// Checks, cuts, keeps and writes down what has arrived as a local file; durable when this returns. None if it is there
    /// already.
    pub(crate) async fn take(
        &self,
        arrival: Arrival,
        file: &Path,
        start: Start,
    ) -> Result<Option<Accepted>, Error> {
        let Arrival { source, format, sha256, size_bytes, file_name, repeat_of, push_key } = arrival;
        let (path, limits, declared) = (file.to_path_buf(), *self.limits(), source.clone());
        let read = move || {
            read(&path, format, &declared, &limits)
                .map_err(|error| explained(error, &path, format, &declared))
        };
        let (plain, plan) = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
        let plain = plain.as_ref().map_or(file, NamedTempFile::path);
        self.blobs().put_file_at(&place(&sha256, format, &source), plain).await?;
        let upload = NewUpload {
            source,
            sha256,
            repeat_of,
            push_key,
            format,
            file_name,
            size_bytes,
            header: plan.header,
            created_at: self.now_data().await?,
            chunks: plan.chunks,
        };
        self.write(&upload, start).await
    }

    async fn write(&self, upload: &NewUpload, start: Start) -> Result<Option<Accepted>, Error> {
        let store = self.catalog().store();
        let mut tx = store.begin().await?;
        let Some(id) = self.catalog().insert_upload(&mut tx, upload).await? else { return Ok(None) };
        let mut run = None;
        if start == Start::Run {
            let enqueued = store.enqueue_run(&mut tx, &upload_run(id, &upload.chunks)).await?;
            self.catalog().set_upload_run(&mut tx, id, enqueued.run).await?;
            run = Some(enqueued.run);
        }
        tx.commit().await?;
        store.wake().await;
        Ok(Some(Accepted { upload: id, run, duplicate: false }))
    }
}

/// The plain text of a file, where it is not plain itself, and how that is cut.
pub(crate) fn read(
    path: &Path,
    format: Format,
    source: &Source,
    limits: &Limits,
) -> Result<(Option<NamedTempFile>, Plan), Error> {
    let plain = plain(path, format, source, limits)?;
    let plan = plan(plain.as_ref().map_or(path, NamedTempFile::path), format, source, limits)?;
    Ok((plain, plan))
}

fn check_limits(claim: &FileClaim, limits: &Limits) -> Result<(), Error> {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if claim.sha256.len() != 64 || !claim.sha256.as_bytes().iter().all(hex) {
        return Err(Error::Mismatch("the SHA-256 of a file is 64 lower-case hex digits".to_owned()));
    }
    if claim.size_bytes > limits.file_bytes {
        let max = limits.file_bytes;
        return Err(Error::Limit(format!(
            "the file has {} bytes, but at most {max} are accepted",
            claim.size_bytes
        )));
    }
    if claim.file_name.len() > limits.name_bytes || claim.source.len() > limits.name_bytes {
        return Err(Error::Limit(format!("a name is longer than {} bytes", limits.name_bytes)));
    }
    Ok(())
}

/// All chunks in parallel, then the publication. A job costs more than a small file: the publication takes the only chunk
/// along.
fn upload_run(upload: UploadId, chunks: &[ChunkPlan]) -> NewRun {
    let step = |name: String, kind, args, needs| NewStep {
        name,
        kind,
        args,
        needs,
        condition: None,
        policy: AttemptPolicy::default(),
        priority: 0,
        concurrency_key: None,
    };
    let jobs = if chunks.len() == 1 { 0 } else { chunks.len() };
    let mut steps: Vec<NewStep> = (0_u32..)
        .take(jobs)
        .map(|chunk| {
            step(format!("chunk-{chunk}"), INGEST_CHUNK, json!(IngestChunk { upload, chunk }), Vec::new())
        })
        .collect();
    let needs = steps.iter().map(|step| step.name.clone()).collect();
    steps.push(step("publish".to_owned(), INGEST_PUBLISH, json!(IngestPublish { upload }), needs));
    NewRun {
        pipeline: "ingest.upload".to_owned(),
        version: 0,
        context: serde_json::Value::Null,
        key: None,
        trigger: Trigger::Manual,
        logical_time: None,
        steps,
    }
}
