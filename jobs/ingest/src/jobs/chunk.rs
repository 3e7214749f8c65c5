//! `ingest.chunk`: types and judges one chunk of an upload and stages the result, unseen.
//!
//! Safe to repeat: the same rows staged again are the same file, and the chunk's row keeps what was staged.

use serde_json::json;
use tidemill_core::{Fault, JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::args::{INGEST_CHUNK, IngestChunk};

use crate::{ChunkDigest, Error, Ingest};

/// The job.
#[derive(Debug)]
pub struct ChunkJob {
    ingest: Ingest,
}

impl ChunkJob {
    /// With what it needs.
    pub fn new(ingest: Ingest) -> Self {
        Self { ingest }
    }
}

impl Job for ChunkJob {
    type Args = IngestChunk;
    type Checkpoint = ();
    const KIND: Kind = INGEST_CHUNK;

    async fn run(&self, args: &IngestChunk, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let catalog = self.ingest.catalog();
        let upload = self.ingest.upload(args.upload).await?;
        let chunks = catalog.chunks::<ChunkDigest>(args.upload).await.map_err(Error::from)?;
        let chunk = chunks
            .into_iter()
            .find(|chunk| chunk.number == args.chunk)
            .ok_or_else(|| JobError::Discard(Fault::new(format!("there is no chunk {}", args.chunk))))?;
        let digest = self.ingest.digest_chunk(&upload, chunk.number, chunk.plan).await?;
        cx.log(format!("{} rows, {} dead letters", digest.rows, digest.dead_letters));
        let mut tx = cx.begin().await?;
        catalog.set_chunk_digest(&mut tx, args.upload, chunk.number, &digest).await.map_err(Error::from)?;
        cx.commit(tx, json!({ "rows": digest.rows, "dead_letters": digest.dead_letters })).await
    }
}
