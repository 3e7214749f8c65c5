//! `predictions.ingest`: segments that serving left on the object store become rows of the model's log.
//!
//! A segment's name is the key of its commit: whoever ships or takes it a second time changes nothing. It is deleted once
//! its rows are there. One whose rows can never be taken is set aside, so that it keeps no other one waiting.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;
use tidemill_blobs::{BlobEntry, Blobs};
use tidemill_core::{JobError, Kind};
use tidemill_offline::{Lake, Staged, Table};
use tidemill_rows::{
    parquet,
    prediction_log::{REFUSED, SEGMENTS, model_of},
};
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::args::{PREDICTIONS_INGEST, PredictionsIngest};
use tidemill_store::NewJob;

use crate::{Deps, Error};

/// The job.
#[derive(Clone, Debug)]
pub struct IngestJob {
    deps: Deps,
}

impl IngestJob {
    /// With what it needs.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }

    async fn ingest(&self, table: &Table, segment: &BlobEntry, cx: &mut Context<()>) -> Result<(), JobError> {
        let Deps { lake, blobs, .. } = &self.deps;
        let key = name_of(segment);
        if lake.commit_of(table, key).await.map_err(Error::from)?.is_none() {
            let bytes = blobs.get_at(&segment.path).await.map_err(Error::from)?;
            let (count, staged) = match stage(lake, table, key, bytes.clone()).await {
                Ok(staged) => staged,
                Err(JobError::Discard(fault)) => {
                    let place = segment.path.replacen(SEGMENTS, REFUSED, 1);
                    blobs.put_at(&place, bytes).await.map_err(Error::from)?;
                    let size = segment.size_bytes;
                    cx.log(format!("{table}: segment {key} of {size} bytes can't be taken and is kept at {place}: {fault}"));
                    return Ok(blobs.delete_at(&segment.path).await.map_err(Error::from)?);
                }
                Err(error) => return Err(error),
            };
            let mut tx = cx.begin().await?;
            lake.publish(tx.conn(), table, key, &staged).await.map_err(Error::from)?;
            cx.commit_checkpoint(tx, ()).await?;
            cx.log(format!("{table}: {count} predictions of segment {key}"));
        }
        Ok(blobs.delete_at(&segment.path).await.map_err(Error::from)?)
    }
}

/// Writes the rows of a segment where nobody sees them yet; how many there are.
async fn stage(
    lake: &Lake,
    table: &Table,
    key: &str,
    bytes: Bytes,
) -> Result<(usize, Vec<Staged>), JobError> {
    let rows = tokio::task::spawn_blocking(move || parquet::read(bytes)).await;
    let rows = rows.map_err(JobError::retry)?.map_err(unreadable)?;
    let (schema, count) = (rows.schema(), rows.num_rows());
    let staged = lake.stage(table, key, 0, &[], &schema, vec![rows]).await.map_err(Error::from)?;
    Ok((count, staged.into_iter().collect()))
}

/// What was read whole, and is no Parquet, never will be.
fn unreadable(error: tidemill_rows::Error) -> JobError {
    JobError::Discard(Error::from(error).fault())
}

impl Job for IngestJob {
    type Args = PredictionsIngest;
    type Checkpoint = ();
    const KIND: Kind = PREDICTIONS_INGEST;

    async fn run(&self, args: &PredictionsIngest, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let table = Table::prediction_log(&args.model);
        let place = format!("{SEGMENTS}/{}", args.model);
        for segment in self.deps.blobs.list(&place).await.map_err(Error::from)? {
            self.ingest(&table, &segment, cx).await?;
        }
        // No outputs: a repeat finds nothing more to take, and must end the same.
        Ok(Outcome::Completed(Value::Null))
    }
}

/// The job for each model of which segments wait.
///
/// # Errors
/// The object store can't be reached.
pub async fn ingests(blobs: &Blobs) -> Result<Vec<NewJob>, Error> {
    let waiting = blobs.list(SEGMENTS).await?;
    let models: BTreeSet<&str> = waiting.iter().filter_map(|segment| model_of(&segment.path)).collect();
    Ok(models.into_iter().map(|model| ingest_new(model.to_owned())).collect())
}

/// The job for a model; asking again while one waits changes nothing.
pub fn ingest_new(model: String) -> NewJob {
    let args = PredictionsIngest { model };
    NewJob { key: Some(args.key()), concurrency_key: Some(args.key()), ..job_new(PREDICTIONS_INGEST, &args) }
}

/// What names a segment.
fn name_of(segment: &BlobEntry) -> &str {
    let file = segment.path.rsplit('/').next().unwrap_or(&segment.path);
    file.strip_suffix(".parquet").unwrap_or(file)
}
