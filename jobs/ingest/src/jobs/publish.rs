//! `ingest.publish`: makes all chunks of an upload visible in one version of the lake.
//!
//! Runs when every chunk is staged; the only chunk of a small file it stages itself. Safe to repeat: the lake publishes an
//! upload once.

use serde_json::json;
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::args::{INGEST_PUBLISH, IngestPublish};

use crate::{Ingest, extra::told};

/// The job.
#[derive(Debug)]
pub struct PublishJob {
    ingest: Ingest,
}

impl PublishJob {
    /// With what it needs.
    pub fn new(ingest: Ingest) -> Self {
        Self { ingest }
    }
}

impl Job for PublishJob {
    type Args = IngestPublish;
    type Checkpoint = ();
    const KIND: Kind = INGEST_PUBLISH;

    async fn run(&self, args: &IngestPublish, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let upload = self.ingest.upload(args.upload).await?;
        let digests = self.ingest.digests(&upload, |done, total| cx.progress(done, total)).await?;
        let mut tx = cx.begin().await?;
        let published = self.ingest.publish(&mut tx, &upload, &digests, cx.run()).await?;
        cx.log(format!("{} rows, {} dead letters", published.rows, published.dead_letters));
        if let Some(ignored) = told(&published.ignored) {
            cx.log(ignored);
        }
        let outputs = json!({
            "upload": upload.id,
            "rows": published.rows,
            "dead_letters": published.dead_letters,
            "naive_timestamps": published.naive_timestamps,
            "ignored": published.ignored,
        });
        cx.commit(tx, outputs).await
    }
}
