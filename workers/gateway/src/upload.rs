//! One upload: announced, staged while it streams, accepted when all of it is here.
//!
//! What arrived is kept when the caller goes away: parts are durable as they come, and the last one is written though
//! nobody waits any more. A repeat goes on from there or starts over; either way the file is one ingest. A small file that
//! comes in one piece needs no staging.

use std::{sync::Arc, thread};

use bytes::{Bytes, BytesMut};
use tidemill_core::UploadId;
use tidemill_ingest::{Accepted, Error, FileClaim, Ingest, Push, Pushed, Staging, Start};
use tidemill_proto::ingest::v1::{
    GetUploadRequest, GetUploadResponse, PushRequest, PushResponse, UploadOpen, UploadRequest,
    UploadResponse, ingest_service_server::IngestService, upload_request::Part,
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use crate::status::{interrupted, malformed, status};

/// Bytes that are kept at once.
const PART_BYTES: usize = 4 << 20;
/// Bytes of a file that is small: many may wait in memory for their turn.
const SMALL_BYTES: u64 = 512 << 10;

/// Answers `IngestService`.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    ingest: Ingest,
    staging: Staging,
    // Small files that are accepted at once: as many as there are cores, which that work needs. The others wait, so that
    // files don't come in much faster than workers beside this process publish them; none waits for a large one.
    turns: Arc<Semaphore>,
}

#[tonic::async_trait]
impl IngestService for Door {
    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<UploadResponse>, Status> {
        let door = self.clone();
        // A task of its own: a caller that goes away must not take with it what it has sent.
        let done = tokio::spawn(async move { door.take(request.into_inner()).await });
        let accepted = done.await.map_err(|_| interrupted())??;
        Ok(Response::new(UploadResponse {
            upload_id: accepted.upload.to_string(),
            run_id: accepted.run.map(|run| run.to_string()).unwrap_or_default(),
            duplicate: accepted.duplicate,
        }))
    }

    async fn get_upload(
        &self,
        request: Request<GetUploadRequest>,
    ) -> Result<Response<GetUploadResponse>, Status> {
        let GetUploadRequest { source, sha256 } = request.into_inner();
        if source.contains('\0') || sha256.contains('\0') {
            return Err(malformed("a name of the upload has a NUL"));
        }
        let claim = FileClaim {
            source,
            format: "csv".to_owned(),
            sha256,
            size_bytes: 0,
            file_name: String::new(),
            force: false,
        };
        self.ingest.check(&claim).await.map_err(|error| status(&error))?;
        let found = self.ingest.find(&claim).await.map_err(|error| status(&error))?;
        let received_bytes = match found {
            Some(found) => self.ingest.size_of(found.upload).await,
            None => self.staging.received(&claim).await,
        };
        let id = |id: Option<String>| id.unwrap_or_default();
        Ok(Response::new(GetUploadResponse {
            received_bytes: received_bytes.map_err(|error| status(&error))?,
            upload_id: id(found.map(|found| found.upload.to_string())),
            run_id: id(found.and_then(|found| found.run).map(|run| run.to_string())),
        }))
    }

    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushResponse>, Status> {
        let door = self.clone();
        let done = tokio::spawn(async move { door.take_rows(request.into_inner()).await });
        let Pushed { accepted, rows } = done.await.map_err(|_| interrupted())??;
        Ok(Response::new(PushResponse {
            upload_id: accepted.upload.to_string(),
            run_id: accepted.run.map(|run| run.to_string()).unwrap_or_default(),
            rows,
            duplicate: accepted.duplicate,
        }))
    }
}

impl Door {
    /// Takes the rows of one call, in its turn.
    async fn take_rows(&self, request: PushRequest) -> Result<Pushed, Status> {
        let PushRequest { source, rows, idempotency_key: key } = request;
        if source.contains('\0') {
            return Err(malformed("the name of the source has a NUL"));
        }
        let key = if key.is_empty() { UploadId::generate().to_string() } else { key };
        let _turn = self.turns.acquire().await;
        let push = Push { source, rows: rows.into(), key };
        self.ingest.push(&push).await.map_err(|error| status(&error))
    }

    pub(crate) fn new(ingest: Ingest) -> Self {
        let staging = Staging::new(ingest.blobs().clone());
        let turns = thread::available_parallelism().map_or(1, usize::from);
        Self { ingest, staging, turns: Arc::new(Semaphore::new(turns)) }
    }

    async fn take(&self, mut stream: Streaming<UploadRequest>) -> Result<Accepted, Status> {
        let Some(UploadRequest { part: Some(Part::Open(open)) }) = stream.message().await? else {
            return Err(malformed("the first message of an upload opens it"));
        };
        if [&open.source, &open.format, &open.sha256, &open.file_name].iter().any(|text| text.contains('\0'))
        {
            return Err(malformed("a name of the upload has a NUL"));
        }
        let (claim, offset) = claim_of(open);
        let fail = |error: Error| status(&error);
        self.ingest.check(&claim).await.map_err(fail)?;
        if let Some(found) = self.ingest.find(&claim).await.map_err(fail)?.filter(|_| !claim.force) {
            return Ok(found);
        }
        let received = self.staging.received(&claim).await.map_err(fail)?;
        if offset > received {
            return Err(fail(Error::Mismatch(format!("{received} bytes are here, not {offset}"))));
        }
        let whole = self.receive(&claim, offset, &mut stream).await?;
        let (file, _turn) = match &whole {
            Some(bytes) => {
                let turn = self.turns.acquire().await;
                (Staging::whole(&claim, bytes), Some(turn))
            }
            None => (self.staging.assemble(&claim).await, None),
        };
        let accepted = self.ingest.accept(&claim, file.map_err(fail)?.path(), Start::Run).await;
        let staged = whole.is_none() || received > 0;
        // Also a file that was refused: what was staged of it is of no use.
        if staged && !matches!(&accepted, Err(error) if error.fault().is_none()) {
            self.staging.clear(&claim).await.map_err(fail)?;
        }
        accepted.map_err(fail)
    }

    /// Takes what comes until the stream ends, well or not. A small file that came in one piece is given back; of any other
    /// what came is staged.
    async fn receive(
        &self,
        claim: &FileClaim,
        mut offset: u64,
        stream: &mut Streaming<UploadRequest>,
    ) -> Result<Option<Bytes>, Status> {
        let fail = |error: Error| status(&error);
        let mut part = BytesMut::new();
        let ended = loop {
            match stream.message().await {
                Ok(Some(UploadRequest { part: Some(Part::Data(bytes)) })) => part.extend_from_slice(&bytes),
                Ok(None) => break Ok(()),
                Ok(Some(_)) => break Err(malformed("an upload is opened once, and then has data")),
                Err(cut_off) => break Err(cut_off),
            }
            if offset + part.len() as u64 > claim.size_bytes {
                let announced = claim.size_bytes;
                return Err(fail(Error::Mismatch(format!("more than the announced {announced} bytes came"))));
            }
            if part.len() >= PART_BYTES {
                offset += self.keep(claim, offset, part.split().freeze()).await.map_err(fail)?;
            }
        };
        let small = claim.size_bytes <= SMALL_BYTES && part.len() as u64 == claim.size_bytes;
        if small && ended.is_ok() {
            return Ok(Some(part.freeze()));
        }
        self.keep(claim, offset, part.freeze()).await.map_err(fail)?;
        ended.map(|()| None)
    }

    async fn keep(&self, claim: &FileClaim, offset: u64, part: Bytes) -> Result<u64, Error> {
        let length = part.len() as u64;
        if length > 0 {
            self.staging.write(claim, offset, part).await?;
        }
        Ok(length)
    }
}

fn claim_of(open: UploadOpen) -> (FileClaim, u64) {
    let UploadOpen { source, format, sha256, size_bytes, offset, file_name, force } = open;
    (FileClaim { source, format, sha256, size_bytes, file_name, force }, offset)
}
