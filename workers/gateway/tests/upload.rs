//! Uploads over the wire: whole, cut off, repeated, wrong.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_catalog::{Catalog, CodeArchive};
use tidemill_core::{SystemClock, Time};
use tidemill_gateway::{Options, Server};
use tidemill_ingest::{Ingest, Limits};
use tidemill_offline::{Lake, LakeOptions};
use tidemill_proto::ingest::v1::{
    GetUploadRequest, PushRequest, UploadOpen, UploadRequest, UploadResponse,
    ingest_service_client::IngestServiceClient, upload_request::Part,
};
use tidemill_spec::{LoadOptions, diagnostic::SourceFile, load_files};
use tidemill_testkit::{
    Engine, engine_with,
    fuzz::{Dice, memory_peak_mib},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Status, transport::Channel};

const PROJECT: &str = "
apiVersion: tidemill/v1
kind: Project
name: test
---
apiVersion: tidemill/v1
kind: Source
name: weather
columns: { origin: string, observed_at: timestamp }
event_time: observed_at
";
const PIECE: usize = 1 << 20;

struct World {
    client: IngestServiceClient<Channel>,
    catalog: Catalog,
    ingest: Ingest,
    _stop: DropGuard,
    _engine: Engine,
    _folder: TempDir,
}

async fn world() -> World {
    let engine =
        engine_with("gateway", async |store| Ok(Catalog::new(store.clone()).migrate().await?)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&BlobOptions::folder(folder.path())).unwrap();
    let catalog = Catalog::new(engine.store.clone());
    let file = SourceFile { path: "tidemill.yaml".to_owned(), text: PROJECT.to_owned() };
    let objects = load_files(vec![file], &LoadOptions::default()).objects;
    let mut tx = engine.store.begin().await.unwrap();
    catalog.apply(&mut tx, &objects, &CodeArchive::default(), Time::UNIX_EPOCH).await.unwrap();
    tx.commit().await.unwrap();
    let lake = Lake::open(&LakeOptions::default(), engine.store.pool().clone(), blobs.clone()).unwrap();
    let ingest = Ingest::new(catalog.clone(), lake, blobs, Arc::new(SystemClock), Limits::default());
    let options = Options { listen: ([127, 0, 0, 1], 0).into(), ..Options::default() };
    let server = Server::bind(&options, ingest.clone()).await.unwrap();
    let address = format!("http://{}", server.address().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));
    let client = IngestServiceClient::connect(address).await.unwrap();
    World { client, catalog, ingest, _stop: stop.drop_guard(), _engine: engine, _folder: folder }
}

fn file() -> Vec<u8> {
    let mut text = "origin,observed_at\n".to_owned();
    while text.len() < 11 * PIECE {
        text.push_str("JFK,2013-01-01T06:00:00Z\n");
    }
    text.into_bytes()
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn open(bytes: &[u8], offset: usize) -> UploadOpen {
    UploadOpen {
        source: "weather".to_owned(),
        format: "csv".to_owned(),
        sha256: sha256(bytes),
        size_bytes: bytes.len() as u64,
        offset: offset as u64,
        file_name: "weather.csv".to_owned(),
        force: false,
    }
}

fn messages(open: UploadOpen, bytes: &[u8]) -> Vec<UploadRequest> {
    let data = bytes.chunks(PIECE).map(|piece| Part::Data(piece.to_vec()));
    std::iter::once(Part::Open(open)).chain(data).map(|part| UploadRequest { part: Some(part) }).collect()
}

impl World {
    async fn send(&self, open: UploadOpen, bytes: &[u8]) -> Result<UploadResponse, Status> {
        let stream = tokio_stream::iter(messages(open, bytes));
        Ok(self.client.clone().upload(stream).await?.into_inner())
    }

    async fn received(&self, bytes: &[u8]) -> u64 {
        let asked = GetUploadRequest { source: "weather".to_owned(), sha256: sha256(bytes) };
        self.client.clone().get_upload(asked).await.unwrap().into_inner().received_bytes
    }

    /// Sends a part of a file and goes away, once the gateway has kept some of it.
    async fn cut_off(&self, bytes: &[u8], at: usize) -> u64 {
        let (sender, receiver) = mpsc::channel(1);
        let mut client = self.client.clone();
        let call = tokio::spawn(async move { client.upload(ReceiverStream::new(receiver)).await });
        for message in messages(open(bytes, 0), &bytes[..at]) {
            sender.send(message).await.unwrap();
        }
        let mut kept = 0;
        while kept == 0 {
            kept = self.received(bytes).await;
        }
        call.abort();
        kept
    }
}

#[tokio::test]
async fn an_upload_that_was_cut_off_goes_on_from_what_is_here() {
    let (world, bytes) = (world().await, file());
    let received = usize::try_from(world.cut_off(&bytes, 9 * PIECE).await).unwrap();
    assert!((4 * PIECE..=9 * PIECE).contains(&received));
    let response = world.send(open(&bytes, received), &bytes[received..]).await.unwrap();
    assert!(!response.duplicate && response.run_id.starts_with("run_"));
    let uploads = world.catalog.uploads(Some("weather"), 10).await.unwrap();
    assert_eq!(uploads.len(), 1);
    assert_eq!(usize::try_from(uploads[0].size_bytes).unwrap(), bytes.len());
    assert!(uploads[0].chunks > 1);
    assert_eq!(world.received(&bytes).await, bytes.len() as u64);
}

#[tokio::test]
async fn an_upload_that_was_cut_off_may_start_over_and_a_repeat_is_a_duplicate() {
    let (world, bytes) = (world().await, file());
    world.cut_off(&bytes, 9 * PIECE).await;
    let first = world.send(open(&bytes, 0), &bytes).await.unwrap();
    let again = world.send(open(&bytes, 0), &bytes).await.unwrap();
    assert!(!first.duplicate && again.duplicate);
    assert_eq!((first.upload_id, first.run_id), (again.upload_id, again.run_id));
    assert_eq!(world.catalog.uploads(Some("weather"), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_upload_is_told_why_and_leaves_nothing() {
    let world = world().await;
    let bytes = b"origin,observed_at\nJFK,2013-01-01T06:00:00Z\n";
    let check = async |open: UploadOpen, bytes: &[u8], code: Code, says: &str| {
        let status = world.send(open, bytes).await.unwrap_err();
        assert_eq!((status.code(), status.message().contains(says)), (code, true), "{status}");
    };
    let ok = open(bytes, 0);
    check(
        UploadOpen { source: "wheather".into(), ..ok.clone() },
        bytes,
        Code::NotFound,
        "did you mean `weather`?",
    )
    .await;
    check(UploadOpen { format: "xlsx".into(), ..ok.clone() }, bytes, Code::InvalidArgument, "TM0503").await;
    check(UploadOpen { sha256: sha256(b"other"), ..ok.clone() }, bytes, Code::FailedPrecondition, "TM0505")
        .await;
    check(UploadOpen { sha256: "../x".into(), ..ok.clone() }, bytes, Code::FailedPrecondition, "TM0505")
        .await;
    check(UploadOpen { size_bytes: 3, ..ok.clone() }, bytes, Code::FailedPrecondition, "announced 3 bytes")
        .await;
    check(UploadOpen { offset: 5, ..ok.clone() }, bytes, Code::FailedPrecondition, "0 bytes are here").await;
    check(UploadOpen { size_bytes: u64::MAX, ..ok.clone() }, bytes, Code::ResourceExhausted, "TM0504").await;
    check(UploadOpen { file_name: "x".repeat(300), ..ok.clone() }, bytes, Code::ResourceExhausted, "TM0504")
        .await;
    let other = b"origin,seen_at\n";
    check(open(other, 0), other, Code::InvalidArgument, "[TM0501]").await;
    assert!(world.catalog.uploads(None, 10).await.unwrap().is_empty());
    world.send(ok, bytes).await.unwrap();
}

#[tokio::test]
async fn pushed_rows_are_one_upload_for_a_key_and_one_for_each_call_without() {
    let world = world().await;
    let row = br#"{"origin": "JFK", "observed_at": "2013-01-01T06:00:00Z"}"#;
    let push = async |key: &str, rows: &[u8]| {
        let (source, idempotency_key) = ("weather".to_owned(), key.to_owned());
        let asked = PushRequest { source, rows: rows.to_vec(), idempotency_key };
        world.client.clone().push(asked).await.map(tonic::Response::into_inner)
    };
    let first = push("k", row).await.unwrap();
    let again = push("k", row).await.unwrap();
    assert_eq!((&first.upload_id, first.rows, again.duplicate), (&again.upload_id, 1, true));
    assert_ne!(push("", row).await.unwrap().upload_id, push("", row).await.unwrap().upload_id);
    assert_eq!(world.catalog.uploads(Some("weather"), 10).await.unwrap().len(), 3);
    let refused = push("k2", b"[{").await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message().contains("TM0507")),
        (Code::InvalidArgument, true),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn random_uploads_have_typed_answers() {
    let (world, mut dice) = (world().await, Dice::new("random_uploads"));
    let before = memory_peak_mib();
    let whole = b"origin,observed_at\nJFK,2013-01-01T06:00:00Z\nLGA,2013-01-01\n";
    for _ in 0..400 {
        let bytes = if dice.below(3) == 0 { whole.to_vec() } else { dice.broken(whole) };
        let mut opened = open(&bytes, 0);
        match dice.below(9) {
            0 => opened.source = dice.text(),
            1 => opened.format = (*dice.pick(&["parquet", "jsonl", "", "csv\0"])).to_owned(),
            2 => opened.sha256 = dice.text(),
            3 => opened.size_bytes = *dice.pick(&[0, 1, u64::MAX, 1 << 40]),
            4 => opened.offset = *dice.pick(&[1, u64::MAX, 1 << 63]),
            5 => opened.file_name = dice.text(),
            _ => opened.force = dice.below(2) == 0,
        }
        let mut parts = messages(opened.clone(), &bytes);
        match dice.below(6) {
            0 => parts.reverse(),
            1 => parts.push(UploadRequest { part: Some(Part::Open(opened)) }),
            2 => parts.insert(dice.below(2), UploadRequest { part: None }),
            _ => {}
        }
        if let Err(status) = world.client.clone().upload(tokio_stream::iter(parts)).await {
            let wrong =
                [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition, Code::ResourceExhausted];
            assert!(wrong.contains(&status.code()), "{status:?}");
            assert!(tidemill_proto::Reason::of(&status).is_some(), "{status:?}");
        }
        let asked = GetUploadRequest { source: dice.text(), sha256: dice.text() };
        if let Err(status) = world.client.clone().get_upload(asked).await {
            assert!(tidemill_proto::Reason::of(&status).is_some(), "{status:?}");
        }
    }
    world.send(open(whole, 0), whole).await.unwrap();
    let grown = memory_peak_mib() - before;
    assert!(grown < 200, "{grown} MiB more");
}

#[tokio::test]
async fn an_address_that_other_machines_reach_is_refused_unless_told_otherwise() {
    let world = world().await;
    let exposed = Options { listen: ([0, 0, 0, 0], 0).into(), ..Options::default() };
    let error = Server::bind(&exposed, world.ingest.clone()).await.unwrap_err();
    assert!(error.to_string().contains("authentication is not supported yet"), "{error}");
    Server::bind(&Options { insecure: true, ..exposed }, world.ingest.clone()).await.unwrap();
}
